// Target attention after the Deep Interest Network (Zhou et al., KDD 2018); README.md says what is ours.
#include <algorithm>
#include <cmath>

#include "framework/nn/embedding.h"
#include "framework/nn/linear.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

struct Options {
  int width = 32, actions = 2, max_items = 50;
  std::vector<std::int64_t> unit{32};
  std::string item = "sum", activation = "silu";
  bool softmax = false;
  double dropout = 0.0, deviation = 0.05;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of items and of the states", 1, 8192);
    v("item", item, "an item's vector: the sum of its tokens' vectors, or a linear map of them side by side",
      {"sum", "concat"});
    v("actions", actions, "kinds of actions of the history told apart (2 for clicks); 0: not read", 0, 127);
    v("unit", unit, "hidden widths of the activation unit, which weighs an item of the history for a candidate", 1,
      65536);
    v("softmax", softmax, "weights of a history sum to one; false: they are summed as they are, as in the paper");
    v("activation", activation, "of the unit and of the states", {"relu", "gelu", "silu"});
    v("dropout", dropout, "drop probability on vectors of items", 0.0, 0.95);
    v("max_items", max_items, "longest history read, newest kept; 0: any length", 0, 100000);
    v("deviation", deviation, "standard deviation of the first tables", 0.0, 10.0);
  }
};

class Din final : public Model {
 public:
  Din(const Options& options, const Section&) : options_(options), activation_(parse_activation(options.activation)) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.extends = true;
    spec.attends_target = true;
    spec.max_items = options_.max_items;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource*) override {
    catalog_ = &context.catalog;
    const std::int64_t width = options_.width;
    tokens_ = std::make_unique<Embedding>(catalog_->tokens(), width, normal(options_.deviation));
    add_module("tokens", *tokens_);
    if (options_.item == "concat") {
      join_ = std::make_unique<Linear>(width * catalog_->levels(), width);
      add_module("join", *join_);
    }
    if (options_.actions > 0) {
      actions_ = std::make_unique<Embedding>(options_.actions + 1, width, normal(options_.deviation));  // last: unknown
      add_module("actions", *actions_);
    }
    std::int64_t in = 4 * width;
    for (std::size_t i = 0; i <= options_.unit.size(); ++i) {
      const std::int64_t out = i < options_.unit.size() ? options_.unit[i] : 1;
      unit_.push_back(std::make_unique<Linear>(in, out));
      add_module(str("unit.", i), *unit_.back());
      in = out;
    }
    out_ = std::make_unique<Linear>(3 * width, width);
    add_module("out", *out_);
  }

  // States are the vectors of the history, actions and all; none of them answers for its own item (item_row is -1).
  Memory encode(const Histories& histories) override {
    std::vector<std::int32_t> items, actions;
    Memory memory;
    for (std::int64_t b = 0; b < histories.rows(); ++b) {
      const std::int64_t begin = histories.offset[at(b)], end = histories.offset[at(b + 1)];
      for (std::int64_t i = options_.max_items > 0 ? std::max(begin, end - options_.max_items) : begin; i < end; ++i) {
        items.push_back(histories.item[at(i)]);
        actions.push_back(action_of(histories, i));
      }
      memory.offset.push_back(static_cast<std::int64_t>(items.size()));
    }
    memory.item_row.assign(histories.item.size(), -1);
    memory.states = vectors_of(catalog_->tokens_of(items));
    if (actions_ && !items.empty()) memory.states = add(memory.states, (*actions_)(actions));
    memory.summary = segment_mean(memory.states, memory.offset);
    return memory;
  }

  // Recorded on the tape: the states of targets in training, of candidates afterwards.
  std::unique_ptr<Extension> extend(const Memory& memory, const Candidates& candidates,
                                    const Extension* previous) override {
    const int levels = catalog_->levels();
    const std::size_t count = candidates.row.size();
    check(previous == nullptr && candidates.first_level == 0 && candidates.tokens == levels &&
              candidates.code.size() == count * static_cast<std::size_t>(levels),
          "din: extend() reads whole items of ", levels, " codes, got ", candidates.code.size(), " codes for ", count,
          " candidates");
    std::vector<std::int32_t> tokens(candidates.code.size());
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] =
          candidates.code[i] < 0
              ? -1
              : catalog_->token_offset(static_cast<int>(i % static_cast<std::size_t>(levels))) + candidates.code[i];
    const Tensor item = vectors_of(tokens);
    const Tensor interest = interest_in(item, memory, candidates.row);
    auto extension = std::make_unique<Extension>();
    extension->states = (*out_)(concat_columns({interest, item, multiply(interest, item)}), activation_);
    return extension;
  }

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

  std::int32_t action_of(const Histories& histories, std::int64_t i) const {
    const std::int32_t action = histories.action.empty() ? -1 : histories.action[at(i)];
    check(options_.actions == 0 || action < options_.actions, "din: a history holds the action ", action,
          ", but actions = ", options_.actions, " knows 0 .. ", options_.actions - 1, "; raise it");
    return action < 0 ? options_.actions : action;
  }

  Tensor vectors_of(std::span<const std::int32_t> tokens) {  // (n, L) -> (n, D)
    const int levels = catalog_->levels();
    if (!join_) return dropout(tokens_->sum(tokens, levels), options_.dropout);
    const auto count = static_cast<std::int64_t>(tokens.size()) / levels;
    if (count == 0) return tokens_->sum(tokens, levels);
    return dropout((*join_)((*tokens_)(tokens).reshape({count, std::int64_t{levels} * options_.width})),
                   options_.dropout);
  }

  // The history of each candidate, weighed for it: all pairs of (item of the history, candidate) go through the unit
  // at once.
  Tensor interest_in(const Tensor& item, const Memory& memory, std::span<const std::int32_t> row) {
    std::vector<std::int32_t> past, candidate;
    std::vector<std::int64_t> offset{0};
    for (std::size_t c = 0; c < row.size(); ++c) {
      const auto b = static_cast<std::size_t>(row[c]);
      for (std::int64_t i = memory.offset[b]; i < memory.offset[b + 1]; ++i) {
        past.push_back(static_cast<std::int32_t>(i));
        candidate.push_back(static_cast<std::int32_t>(c));
      }
      offset.push_back(static_cast<std::int64_t>(past.size()));
    }
    if (past.empty()) return Tensor::zeros(item.shape(), item.dtype());
    const Tensor h = gather_rows(memory.states, past), c = gather_rows(item, candidate);
    Tensor weight = concat_columns({h, c, subtract(h, c), multiply(h, c)});
    for (std::size_t i = 0; i < unit_.size(); ++i)
      weight = (*unit_[i])(weight, i + 1 < unit_.size() ? activation_ : Activation::none);
    if (options_.softmax) weight = softmax_of(weight, offset, candidate);
    return segment_sum(scale_rows(h, weight.reshape({weight.numel()})), offset);
  }

  // Softmax over each candidate's history. weight (P, 1).
  static Tensor softmax_of(const Tensor& weight, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> candidate) {
    std::vector<double> top(offset.size() - 1, 0.0);
    const Tensor plain = weight.detach().to(DType::f64);
    for (std::size_t c = 0; c + 1 < offset.size(); ++c)
      if (offset[c + 1] > offset[c])
        top[c] = *std::max_element(plain.data<double>() + offset[c], plain.data<double>() + offset[c + 1]);
    std::vector<double> tops(candidate.size());
    for (std::size_t i = 0; i < tops.size(); ++i) tops[i] = top[static_cast<std::size_t>(candidate[i])];
    const Tensor shifted =
        subtract(weight, Tensor::from(tops, {static_cast<std::int64_t>(tops.size()), 1}).to(weight.dtype()));
    // An empty history has no pair, so no row below asks for its sum; one keeps the logarithm finite.
    Tensor empty = Tensor::zeros({static_cast<std::int64_t>(top.size()), 1}, DType::f64);
    for (std::size_t c = 0; c + 1 < offset.size(); ++c) empty.data<double>()[c] = offset[c + 1] > offset[c] ? 0.0 : 1.0;
    const Tensor sums = add(segment_sum(exp(shifted), offset), empty.to(weight.dtype()));
    return exp(subtract(shifted, gather_rows(log(sums), candidate)));
  }

  Options options_;
  Activation activation_;
  const Catalog* catalog_ = nullptr;
  std::unique_ptr<Embedding> tokens_, actions_;
  std::unique_ptr<Linear> join_, out_;
  std::vector<std::unique_ptr<Linear>> unit_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Din>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Model, Options>("din", "target attention: the history is weighed for each candidate (DIN)", make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Target attention after the Deep Interest Network", tessera::register_components);
