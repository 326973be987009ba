#include <algorithm>
#include <limits>
#include <numeric>

#include "framework/config/config.h"
#include "framework/nn/targets.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/frozen_weights.h"
#include "framework/roles/head.h"
#include "plugins/dot_product/item_tower.h"
#include "plugins/dot_product/negatives.h"
#include "plugins/dot_product/own_items.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/reduce/reduce.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {
namespace {

struct Options {
  std::string tower = "sum", loss = "softmax", negative_sampling = "auto";
  int negatives = 1;
  double popularity_power = 0.75, label_smoothing = 0.0, temperature = 1.0, deviation = 0.02;
  bool normalize = false, projection = false, repeat = false;

  template <class V>
  void describe(V& v) {
    v("tower", tower, "an item's vector: sum or mean of its token embeddings", {"sum", "mean"});
    v("loss", loss, "softmax over all items; sampled_softmax; bce; bpr; none: the model's own loss alone",
      {"softmax", "sampled_softmax", "bce", "bpr", "none"});
    v("negatives", negatives, "bce, bpr: negatives a target; sampled_softmax: negatives a batch", 1, 1000000);
    v("negative_sampling", negative_sampling,
      "negatives of all items alike; by popularity ^ popularity_power; unseen (bce, bpr): alike among trained items "
      "that "
      "the user has not; auto: unseen for bce and bpr with models that read the graph, else uniform",
      {"auto", "uniform", "popularity", "unseen"});
    v("popularity_power", popularity_power, "power of the training count", 0.0, 2.0);
    v("label_smoothing", label_smoothing, "softmax losses: share of the target spread over all", 0.0, 0.9);
    v("normalize", normalize, "cosine instead of inner product");
    v("projection", projection,
      "a learnt linear map between a state and its scores (begins near the identity): with tied vectors, what the "
      "model "
      "has just read need not be what it answers");
    v("repeat", repeat,
      "softmax over histories: a learnt number is added to the scores of items that the user already has (people "
      "who never "
      "buy twice, or always)");
    v("temperature", temperature, "scores are divided by it", 0.001, 1000.0);
    v("deviation", deviation, "standard deviation of the first token embeddings", 0.0, 10.0);
  }
};

bool counts_up(const std::vector<std::int32_t>& rows, std::int64_t end) {
  if (static_cast<std::int64_t>(rows.size()) != end) return false;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] != static_cast<std::int32_t>(i)) return false;
  return true;
}

class DotProduct final : public Head {
 public:
  DotProduct(const Options& options, const Section& section);
  HeadSpec spec(const ModelSpec& model) const override;
  void build(const BuildContext& context, const ModelSpec& model) override;
  ItemVectorSource* item_tower() override { return tower_.get(); }
  Tensor loss(Model& model, const TrainBatch& batch) override;
  Ranking rank(Model& model, const Histories& histories, const RankRequest& request) override;
  std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> items) override;
  Ranking rank_memory(Model& model, const Memory& memory, const RankRequest& request) override;
  std::vector<float> score_memory(Model& model, const Memory& memory, std::span<const std::int64_t> offset,
                                  std::span<const std::int32_t> items) override;

 private:
  struct Pairs {
    Tensor users, items;  // (B, D), (I, D), as they are scored
  };
  Tensor side(const Tensor& x) const { return options_.normalize ? l2_normalize(x) : x; }
  Tensor queries(const Tensor& states);
  Pairs vectors(Model& model, const Histories& histories);
  const Pairs& graph_vectors(Model& model);
  Tensor states(Model& model, const TrainBatch& batch, Targets& targets) const;
  Tensor softmax(Model& model, const TrainBatch& batch);
  bool is_pairwise() const { return options_.loss == "bce" || options_.loss == "bpr"; }
  bool draws_unseen(const ModelSpec& model) const;
  Pairs vectors(const Memory& memory) { return {queries(memory.summary), side(tower_->all())}; }
  static Ranking best(const Pairs& pairs, const RankRequest& request);
  static std::vector<float> products(const Pairs& pairs, std::span<const std::int64_t> offset,
                                     std::span<const std::int32_t> items);
  // What a loss over some items compares: states as they are scored, and the vectors of targets and of negatives.
  struct Sampled {
    Targets targets;
    std::vector<std::int32_t> negative;
    Tensor h, positive, against;  // (N, D), (N, D), (negatives, D)
  };
  std::vector<std::int32_t> draw(const Targets& targets, const TrainBatch& batch) const;
  Sampled sampled(Model& model, const TrainBatch& batch);
  Tensor sampled_softmax(const Sampled& s) const;
  Tensor pairwise(const Sampled& s) const;

  Options options_;
  Section section_;
  std::unique_ptr<ItemTower> tower_;
  std::unique_ptr<Negatives> negatives_;
  Parameter* projection_ = nullptr;  // (D, D), or null
  Parameter* repeat_ = nullptr;      // (1), or null
  bool reads_histories_ = true, every_position_ = true, unseen_ = false;
  std::uint64_t seed_ = 1, kept_in_ = 0;
  Pairs kept_;  // the whole graph's, under the scope kept_in_ of FrozenWeights
};

DotProduct::DotProduct(const Options& options, const Section& section) : options_(options), section_(section) {
  const bool softmax = options.loss == "softmax" || options.loss == "sampled_softmax";
  const bool draws = options.loss == "sampled_softmax" || is_pairwise();
  if (!softmax && options.label_smoothing > 0.0)
    section.fail("label_smoothing", str("label_smoothing belongs to the softmax losses, but loss = \"", options.loss,
                                        "\"; remove one of them"));
  if (options.repeat && options.loss != "softmax")
    section.fail("repeat", str("repeat is learnt by loss = \"softmax\" alone, but loss = \"", options.loss,
                               "\"; remove one of them"));
  for (const char* key : {"negatives", "negative_sampling", "popularity_power"})
    if (!draws && section.has(key))
      section.fail(key, str(key, " has no meaning with loss = \"", options.loss, "\", which ",
                            options.loss == "softmax" ? "sees all items" : "draws no negatives",
                            "; remove it, or take loss = \"sampled_softmax\""));
  if (options.negative_sampling == "unseen" && !is_pairwise())
    section.fail("negative_sampling",
                 str("negative_sampling = \"unseen\" draws negatives for each target, but loss = \"", options.loss,
                     "\" shares them; take bce or bpr, or another sampling"));
}

HeadSpec DotProduct::spec(const ModelSpec& model) const {
  HeadSpec spec;
  spec.form = model.reads_histories && model.causal ? BatchForm::every_position : BatchForm::one_target;
  spec.has_item_tower = true;
  spec.answers_memories = model.reads_histories && !options_.repeat;  // repeat asks for the user's items
  if (draws_unseen(model)) spec.negatives = options_.negatives;
  return spec;
}

bool DotProduct::draws_unseen(const ModelSpec& model) const {
  if (options_.negative_sampling == "unseen") return true;
  return options_.negative_sampling == "auto" && is_pairwise() && !model.reads_histories;
}

void DotProduct::build(const BuildContext& context, const ModelSpec& model) {
  reads_histories_ = model.reads_histories;
  every_position_ = spec(model).form == BatchForm::every_position;
  seed_ = context.seed;
  if (options_.repeat && !reads_histories_)
    section_.fail("repeat", "repeat needs a model that reads histories; this one reads the graph of all interactions");
  if (options_.loss == "none" && !model.own_loss)
    section_.fail("loss",
                  "loss = \"none\" leaves training to the model, but this model has no loss of its own; take bpr "
                  "or another");
  check(!reads_histories_ || model.tower_width == 0 || model.tower_width == model.width,
        "dot_product: a model of histories is scored with the tower's own vectors: tower_width ", model.tower_width,
        " is not its width ", model.width);
  const int width = model.tower_width > 0 ? model.tower_width : model.width;
  tower_ = std::make_unique<ItemTower>(context.catalog, width, options_.tower == "mean", options_.deviation);
  add_module("tower", *tower_);
  if (options_.projection)
    projection_ = &add_parameter("projection", {model.width, model.width}, near_identity(options_.deviation));
  if (options_.repeat) repeat_ = &add_parameter("repeat", {1}, constant(0.0), false);
  unseen_ = draws_unseen(model);
  if (options_.loss == "softmax" || options_.loss == "none" || unseen_) return;
  if (options_.negative_sampling == "popularity")
    negatives_ = std::make_unique<Negatives>(train_counts(context.data), options_.popularity_power);
  else negatives_ = std::make_unique<Negatives>(context.catalog.items());
}

Tensor DotProduct::queries(const Tensor& states) {
  const Tensor h = side(projection_ ? matmul(states, (*projection_)()) : states);
  return options_.temperature == 1.0 ? h : scale(h, 1.0 / options_.temperature);
}

DotProduct::Pairs DotProduct::vectors(Model& model, const Histories& histories) {
  if (reads_histories_) return vectors(model.summarize(histories));
  for (const std::int32_t user : histories.user)
    if (user < 0)
      throw Error(
          "dot_product: the model reads the graph of training interactions: it answers for users of the data, not for "
          "a "
          "history of somebody unknown; ask for a user by name");
  const Pairs& all = graph_vectors(model);
  return {gather_rows(all.users, histories.user), all.items};
}

// Of all users and items; made once as long as the weights stay as they are.
const DotProduct::Pairs& DotProduct::graph_vectors(Model& model) {
  const std::uint64_t scope = FrozenWeights::current();
  if (scope == 0 || scope != kept_in_) {
    const auto [users, items] = model.propagate(tower_.get());
    kept_ = {queries(users), side(items)};
    kept_in_ = scope;
  }
  return kept_;
}

Tensor DotProduct::loss(Model& model, const TrainBatch& batch) {
  kept_ = {};
  kept_in_ = 0;
  if (options_.loss == "none") return {};
  if (options_.loss == "softmax") return softmax(model, batch);
  const Sampled s = sampled(model, batch);
  return options_.loss == "sampled_softmax" ? sampled_softmax(s) : pairwise(s);
}

// States that have a target, with their targets.
Tensor DotProduct::states(Model& model, const TrainBatch& batch, Targets& targets) const {
  const Memory memory = model.encode(batch.histories);
  if (!every_position_) {
    targets.item = batch.target;
    return memory.summary;
  }
  targets = every_target(memory, batch);
  return counts_up(targets.row, memory.states.rows()) ? memory.states : gather_rows(memory.states, targets.row);
}

Tensor DotProduct::softmax(Model& model, const TrainBatch& batch) {
  Targets targets;
  Tensor h, all;
  if (reads_histories_) {
    h = states(model, batch, targets);
    all = tower_->all();
  } else {
    const auto [users, items] = model.propagate(tower_.get());
    targets.item = batch.target;
    h = gather_rows(users, batch.histories.user);
    all = items;
  }
  MarkedClasses own;
  if (repeat_) {
    own = every_position_ ? own_items_at(batch.histories, targets.place) : own_items(batch.histories);
    own.value = (*repeat_)();
  }
  return linear_cross_entropy(queries(h), side(all), {}, targets.item, options_.label_smoothing, own);
}

// Negatives of the targets: those of the batch, or drawn here.
std::vector<std::int32_t> DotProduct::draw(const Targets& targets, const TrainBatch& batch) const {
  const auto each = static_cast<std::size_t>(options_.negatives);
  if (!unseen_) {
    TrainingScope* scope = TrainingScope::current();
    Random random(scope ? scope->seed() : seed_,
                  scope ? scope->next_stream() : stream_of(str("negatives/", batch.step)));
    const std::size_t count = is_pairwise() ? targets.item.size() * each : each;
    return negatives_->draw(static_cast<std::int64_t>(count), random);
  }
  const std::size_t have = batch.target.empty() ? 0 : batch.negative.size() / batch.target.size();
  check(have >= each, "dot_product: the batch has ", have, " negatives a target, expected ", each, " or more");
  std::vector<std::int32_t> negative;
  negative.reserve(targets.item.size() * each);
  for (std::size_t i = 0; i < targets.item.size(); ++i) {
    const std::size_t place = every_position_ ? static_cast<std::size_t>(targets.place[i]) : i;
    const auto from = batch.negative.begin() + static_cast<std::ptrdiff_t>(place * have);
    negative.insert(negative.end(), from, from + static_cast<std::ptrdiff_t>(each));
  }
  return negative;
}

DotProduct::Sampled DotProduct::sampled(Model& model, const TrainBatch& batch) {
  Sampled s;
  if (reads_histories_) {
    s.h = queries(states(model, batch, s.targets));
    s.negative = draw(s.targets, batch);
    s.positive = side(tower_->vectors(s.targets.item));
    s.against = side(tower_->vectors(s.negative));
    return s;
  }
  s.targets.item = batch.target;
  s.negative = draw(s.targets, batch);
  std::vector<std::int32_t> asked = batch.target;
  asked.insert(asked.end(), s.negative.begin(), s.negative.end());
  const auto [users, vectors] = model.propagate_batch(tower_.get(), batch.histories.user, asked);
  const Tensor items = side(vectors);
  const auto targets = static_cast<std::int64_t>(batch.target.size());
  s.h = queries(users);
  s.positive = slice_rows(items, 0, targets);
  s.against = slice_rows(items, targets, items.rows());
  return s;
}

// Negatives are shared by the batch; scores are corrected by their log probability, and a negative that is the target
// itself does not count (Jean et al. 2015).
Tensor DotProduct::sampled_softmax(const Sampled& s) const {
  const std::int64_t rows = s.h.rows(), drawn = options_.negatives;
  std::vector<float> hits(static_cast<std::size_t>(rows * drawn)), own(static_cast<std::size_t>(rows));
  std::vector<float> correction(s.negative.size());
  for (std::size_t j = 0; j < s.negative.size(); ++j)
    correction[j] = static_cast<float>(-negatives_->log_probability(s.negative[j]));
  for (std::size_t i = 0; i < own.size(); ++i) {
    own[i] = static_cast<float>(-negatives_->log_probability(s.targets.item[i]));
    for (std::size_t j = 0; j < s.negative.size(); ++j)
      hits[i * s.negative.size() + j] = s.negative[j] == s.targets.item[i] ? -1e30f : correction[j];
  }
  const DType type = s.h.dtype();
  const Tensor scores = add(matmul(s.h, s.against, false, true), Tensor::from(hits, {rows, drawn}).to(type));
  const Tensor first = add(row_dot(s.h, s.positive), Tensor::from(own, {rows}).to(type)).reshape({rows, 1});
  const std::vector<std::int32_t> target(own.size(), 0);
  return cross_entropy(concat_columns({first, scores}), target, options_.label_smoothing);
}

// bce: positives against 1 and negatives against 0, each side its mean; bpr: every positive against each of its
// negatives.
Tensor DotProduct::pairwise(const Sampled& s) const {
  const auto each = static_cast<std::size_t>(options_.negatives);
  std::vector<std::int32_t> repeat(s.negative.size());
  for (std::size_t i = 0; i < repeat.size(); ++i) repeat[i] = static_cast<std::int32_t>(i / each);
  const Tensor positive = row_dot(s.h, s.positive);
  const Tensor against = row_dot(each == 1 ? s.h : gather_rows(s.h, repeat), s.against);
  if (options_.loss == "bpr") {
    const auto rows = static_cast<std::int64_t>(repeat.size());
    return bpr(each == 1 ? positive : gather_rows(positive.reshape({positive.numel(), 1}), repeat).reshape({rows}),
               against);
  }
  return add(bce_with_logits(positive, std::vector<float>(s.targets.item.size(), 1.0f)),
             bce_with_logits(against, std::vector<float>(s.negative.size(), 0.0f)));
}

// Inner products of rows of users with items, offset (B + 1) of them a row.
std::vector<float> DotProduct::products(const Pairs& pairs, std::span<const std::int64_t> offset,
                                        std::span<const std::int32_t> items) {
  std::vector<std::int32_t> row(items.size());
  for (std::size_t b = 0; b + 1 < offset.size(); ++b)
    std::fill(row.begin() + offset[b], row.begin() + offset[b + 1], static_cast<std::int32_t>(b));
  const Tensor dots = row_dot(gather_rows(pairs.users, row), gather_rows(pairs.items, items)).to(DType::f32);
  return {dots.values<float>().begin(), dots.values<float>().end()};
}

Ranking DotProduct::best(const Pairs& pairs, const RankRequest& request) {
  TopK best = topk_inner_product(pairs.users, pairs.items, request.k, request.excluded_offset, request.excluded,
                                 request.allowed);
  Ranking ranking;
  ranking.k = request.k;
  ranking.item = std::move(best.index);
  ranking.score = std::move(best.score);
  return ranking;
}

Ranking DotProduct::rank_memory(Model&, const Memory& memory, const RankRequest& request) {
  const NoTape no_tape;
  check(!repeat_, "dot_product: repeat = true asks for the user's items, which a memory does not hold");
  return best(vectors(memory), request);
}

Ranking DotProduct::rank(Model& model, const Histories& histories, const RankRequest& request) {
  const NoTape no_tape;
  const Pairs pairs = vectors(model, histories);
  if (!repeat_) return best(pairs, request);
  const MarkedClasses own = own_items(histories);
  Ranking ranking = best(pairs, without_own(request, own));
  const MarkedClasses more = allowed_own(request, own);
  std::vector<float> scores = products(pairs, more.offset, more.column);
  for (float& score : scores) score += static_cast<float>((*repeat_)().item());
  merge(more, scores, ranking);
  return ranking;
}

std::vector<float> DotProduct::score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                                     std::span<const std::int32_t> items) {
  const NoTape no_tape;
  std::vector<float> scores = products(vectors(model, histories), offset, items);
  if (!repeat_) return scores;
  const MarkedClasses own = own_items(histories);
  for (std::size_t b = 0; b + 1 < offset.size(); ++b)
    for (auto i = static_cast<std::size_t>(offset[b]); i < static_cast<std::size_t>(offset[b + 1]); ++i)
      if (std::binary_search(own.column.begin() + own.offset[b], own.column.begin() + own.offset[b + 1], items[i]))
        scores[i] += static_cast<float>((*repeat_)().item());
  return scores;
}

std::vector<float> DotProduct::score_memory(Model&, const Memory& memory, std::span<const std::int64_t> offset,
                                            std::span<const std::int32_t> items) {
  const NoTape no_tape;
  check(!repeat_, "dot_product: repeat = true asks for the user's items, which a memory does not hold");
  return products(vectors(memory), offset, items);
}

std::unique_ptr<Head> make(const Options& options, const Section& section) {
  return std::make_unique<DotProduct>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Head, Options>(
      "dot_product", "inner product of the user's state and an item tower: softmax, sampled softmax, BCE, BPR", make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Inner product of a user's state and item vectors", tessera::register_components);
