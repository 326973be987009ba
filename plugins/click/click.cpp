#include <algorithm>
#include <limits>

#include "framework/data/batches.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/head.h"
#include "plugins/click/scorer.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {
namespace {

constexpr std::int64_t kCandidates = 2048;      // scored at once
constexpr std::int64_t kItemsRead = 16384;      // items of histories read at once by score_each()
constexpr std::int64_t kScores = 16 * 1 << 20;  // of a ranking kept at once

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Items begin .. end - 1 of the columns, as one more row.
void add_row(Histories& to, const Histories& from, std::int64_t row, std::int64_t begin, std::int64_t end) {
  const auto take = [&](const auto& column, auto& out) {
    if (!column.empty()) out.insert(out.end(), column.begin() + begin, column.begin() + end);
  };
  take(from.item, to.item);
  take(from.time, to.time);
  take(from.action, to.action);
  to.user.push_back(from.user.empty() ? -1 : from.user[at(row)]);
  to.offset.push_back(to.size());
}

class Click final : public Head {
 public:
  Click(const ClickOptions& options, const Section& section) : options_(options), section_(section) {}

  HeadSpec spec(const ModelSpec& model) const override {
    if (!model.reads_histories)
      section_.fail("plugin",
                    "head 'click' scores an item given a history, but the model reads the graph alone; take a model of "
                    "histories (flat_transformer, hmat, din)");
    if (!model.extends && !model.wants_item_vectors)
      section_.fail("plugin",
                    str("head 'click' scores candidates by extend(), which this ", model.causal ? "" : "bidirectional ",
                        "model does not offer; take a causal model that reads tokens, or din"));
    if (!model.causal && !model.attends_target && !model.wants_item_vectors)
      section_.fail("plugin",
                    "head 'click' trains on the state of each item of a history, but the states of this model see what "
                    "comes after; take a causal model, or din");
    HeadSpec spec;
    spec.form = model.attends_target ? BatchForm::one_target : BatchForm::each_item;
    spec.needs_labels = true;
    spec.answers_memories = options_.user_buckets == 0 && options_.length_width == 0;  // a memory tells neither
    return spec;
  }

  void build(const BuildContext& context, const ModelSpec& model) override {
    static_cast<void>(spec(model));  // says what does not fit
    catalog_ = &context.catalog;
    model_ = model;
    scorer_ = std::make_unique<ClickScorer>(options_, model.width, context.data);
    add_module("scorer", *scorer_);
  }

  Tensor loss(Model& model, const TrainBatch& batch) override {
    check(batch.label.size() == batch.target.size(), "click: the batch has ", batch.label.size(), " labels for ",
          batch.target.size(), " targets");
    if (!model_.attends_target) {
      std::vector<std::int32_t> place;
      const ClickRows rows = rows_of_items(model.encode(batch.histories), batch.histories, batch.target, place);
      std::vector<float> label;
      for (const std::int32_t i : place) label.push_back(batch.label[static_cast<std::size_t>(i)]);
      return bce_with_logits(scorer_->logits(rows), label);
    }
    std::vector<std::int32_t> row(batch.target.size());
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::int32_t>(i);
    Known known = known_of(batch.histories);
    known.time = batch.time;
    return bce_with_logits(logits_of(model, model.encode(batch.histories), known, row, batch.target), batch.label);
  }

  Ranking rank(Model& model, const Histories& histories, const RankRequest& request) override {
    return ranked(model, histories.rows(), request, [&](std::int64_t begin, std::int64_t end, Known& known) {
      const Histories part = rows_of(histories, begin, end);
      known = known_of(part);
      return model.summarize(part);
    });
  }

  std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> items) override {
    const NoTape no_tape;
    return score_lists(model, model.summarize(histories), known_of(histories), offset, items);
  }

  Ranking rank_memory(Model& model, const Memory& memory, const RankRequest& request) override {
    const std::int64_t rows = static_cast<std::int64_t>(memory.offset.size()) - 1;
    return ranked(
        model, rows, request, [&](std::int64_t, std::int64_t, Known&) { return memory; }, true);
  }

  std::vector<float> score_memory(Model& model, const Memory& memory, std::span<const std::int64_t> offset,
                                  std::span<const std::int32_t> items) override {
    const NoTape no_tape;
    return score_lists(model, memory, {}, offset, items);
  }

  // Longer histories are read in windows: each item with at least max_items / 2 items before it.
  std::vector<float> score_each(Model& model, const Histories& histories) override {
    if (!model_.causal) return Head::score_each(model, histories);
    const NoTape no_tape;
    std::vector<float> scores(histories.item.size());
    Histories read;
    std::vector<std::int32_t> target, to;  // of what is read: the item or -1, and its place in `scores`
    const auto flush = [&] {
      if (read.rows() == 0) return;
      std::vector<std::int32_t> place;
      const ClickRows rows = rows_of_items(model.encode(read), read, target, place);
      const Tensor logit = scorer_->logits(rows).to(DType::f32);
      for (std::size_t i = 0; i < place.size(); ++i)
        scores[static_cast<std::size_t>(to[static_cast<std::size_t>(place[i])])] = logit.values<float>()[i];
      read = {};
      target.clear();
      to.clear();
    };
    for (std::int64_t b = 0; b < histories.rows(); ++b) {
      const std::int64_t first = histories.offset[at(b)];
      for (const Window& window : windows(histories.offset[at(b + 1)] - first, model_.max_items)) {
        add_row(read, histories, b, first + window.begin, first + window.end);
        for (std::int64_t i = first + window.begin; i < first + window.end; ++i) {
          target.push_back(i < first + window.first ? -1 : histories.item[at(i)]);
          to.push_back(static_cast<std::int32_t>(i));
        }
        if (read.size() >= kItemsRead) flush();
      }
    }
    flush();
    return scores;
  }

 private:
  // Who the rows of a memory are; empty where it was stored without.
  struct Known {
    std::vector<std::int32_t> user, length;
    std::vector<std::int64_t> time;  // the moment asked about; empty: now
  };
  Known known_of(const Histories& histories) const {
    Known known;
    for (std::int64_t b = 0; b < histories.rows(); ++b) {
      known.user.push_back(histories.user.empty() ? -1 : histories.user[at(b)]);
      const std::int64_t n = histories.offset[at(b + 1)] - histories.offset[at(b)];
      known.length.push_back(static_cast<std::int32_t>(model_.max_items > 0 ? std::min(n, model_.max_items) : n));
    }
    return known;
  }

  static Histories rows_of(const Histories& histories, std::int64_t begin, std::int64_t end) {
    Histories part;
    for (std::int64_t b = begin; b < end; ++b)
      add_row(part, histories, b, histories.offset[at(b)], histories.offset[at(b + 1)]);
    return part;
  }

  // States of the items that are targets; place: their positions in the batch.
  ClickRows rows_of_items(const Memory& memory, const Histories& histories, std::span<const std::int32_t> target,
                          std::vector<std::int32_t>& place) const {
    ClickRows rows;
    std::vector<std::int32_t> state;
    for (std::int64_t b = 0; b < histories.rows(); ++b)
      for (std::int64_t i = histories.offset[at(b)]; i < histories.offset[at(b + 1)]; ++i) {
        const std::int32_t row = memory.item_row.empty() ? static_cast<std::int32_t>(i) : memory.item_row[at(i)];
        if (row < 0 || target[at(i)] < 0) continue;
        state.push_back(row);
        place.push_back(static_cast<std::int32_t>(i));
        rows.user.push_back(histories.user[at(b)]);
        rows.item.push_back(target[at(i)]);
        rows.length.push_back(static_cast<std::int32_t>(i - histories.offset[at(b)]));
        if (!histories.time.empty()) rows.time.push_back(histories.time[at(i)]);
      }
    rows.state = gather_rows(memory.states, state);
    return rows;
  }

  // Logits of items behind rows of a memory: (C).
  Tensor logits_of(Model& model, const Memory& memory, const Known& known, std::span<const std::int32_t> row,
                   std::span<const std::int32_t> items) const {
    Candidates candidates;
    candidates.row.assign(row.begin(), row.end());
    candidates.tokens = catalog_->levels();
    candidates.code.reserve(items.size() * at(candidates.tokens));
    ClickRows rows;
    rows.item.assign(items.begin(), items.end());
    for (std::size_t c = 0; c < items.size(); ++c) {
      const auto codes = catalog_->codes_of(items[c]);
      candidates.code.insert(candidates.code.end(), codes.begin(), codes.end());
      const auto b = static_cast<std::size_t>(row[c]);
      rows.user.push_back(known.user.empty() ? -1 : known.user[b]);
      rows.length.push_back(known.length.empty() ? 0 : known.length[b]);
      if (!known.time.empty()) rows.time.push_back(known.time[b]);
    }
    const auto extension = model.extend(memory, candidates, nullptr);
    rows.state = extension->states;
    if (model_.token_states) {
      std::vector<std::int32_t> last(items.size());
      for (std::size_t c = 0; c < last.size(); ++c)
        last[c] = (static_cast<std::int32_t>(c) + 1) * candidates.tokens - 1;
      rows.state = gather_rows(extension->states, last);
    }
    return scorer_->logits(rows);
  }

  std::vector<float> score_lists(Model& model, const Memory& memory, const Known& known,
                                 std::span<const std::int64_t> offset, std::span<const std::int32_t> items) const {
    std::vector<std::int32_t> row(items.size());
    for (std::size_t b = 0; b + 1 < offset.size(); ++b)
      std::fill(row.begin() + offset[b], row.begin() + offset[b + 1], static_cast<std::int32_t>(b));
    return score_pairs(model, memory, known, row, items);
  }

  std::vector<float> score_pairs(Model& model, const Memory& memory, const Known& known,
                                 std::span<const std::int32_t> row, std::span<const std::int32_t> items) const {
    std::vector<float> scores(items.size());
    for (std::size_t begin = 0; begin < items.size(); begin += kCandidates) {
      const std::size_t count = std::min<std::size_t>(kCandidates, items.size() - begin);
      const Tensor logit =
          logits_of(model, memory, known, row.subspan(begin, count), items.subspan(begin, count)).to(DType::f32);
      std::copy_n(logit.data<float>(), count, scores.begin() + static_cast<std::ptrdiff_t>(begin));
    }
    return scores;
  }

  // remember(begin, end, known) gives the memory of those rows, or (whole) of all of them.
  template <class F>
  Ranking ranked(Model& model, std::int64_t rows, const RankRequest& request, F&& remember, bool whole = false) const {
    const NoTape no_tape;
    const std::int64_t items = catalog_->items(),
                       block = std::max<std::int64_t>(1, kScores / std::max<std::int64_t>(1, items));
    Ranking ranking;
    ranking.k = request.k;
    for (std::int64_t begin = 0; begin < rows; begin += block) {
      const std::int64_t end = std::min(begin + block, rows);
      Known known;
      const Memory memory = remember(begin, end, known);
      std::vector<std::int32_t> row, item;
      open_pairs(request, begin, end, row, item);
      std::vector<std::int32_t> place(row);
      if (whole)
        for (auto& b : place) b += static_cast<std::int32_t>(begin);
      const std::vector<float> found = score_pairs(model, memory, known, place, item);
      Tensor scores = Tensor::full({end - begin, items}, -std::numeric_limits<double>::infinity());
      for (std::size_t i = 0; i < found.size(); ++i) scores.data<float>()[row[i] * items + item[i]] = found[i];
      TopK best = topk(scores, request.k);
      ranking.item.insert(ranking.item.end(), best.index.begin(), best.index.end());
      ranking.score.insert(ranking.score.end(), best.score.begin(), best.score.end());
    }
    return ranking;
  }

  // Every (row - begin, item) that may be answered.
  void open_pairs(const RankRequest& request, std::int64_t begin, std::int64_t end, std::vector<std::int32_t>& row,
                  std::vector<std::int32_t>& item) const {
    const std::int64_t items = catalog_->items();
    std::vector<std::uint8_t> open(at(items));
    for (std::int64_t b = begin; b < end; ++b) {
      for (std::int64_t i = 0; i < items; ++i) open[at(i)] = request.allowed.empty() || request.allowed[at(i)] != 0;
      if (!request.excluded_offset.empty())
        for (auto i = request.excluded_offset[at(b)]; i < request.excluded_offset[at(b + 1)]; ++i)
          open[static_cast<std::size_t>(request.excluded[at(i)])] = 0;
      for (std::int64_t i = 0; i < items; ++i) {
        if (!open[at(i)]) continue;
        row.push_back(static_cast<std::int32_t>(b - begin));
        item.push_back(static_cast<std::int32_t>(i));
      }
    }
  }

  ClickOptions options_;
  Section section_;
  const Catalog* catalog_ = nullptr;
  ModelSpec model_;
  std::unique_ptr<ClickScorer> scorer_;
};

std::unique_ptr<Head> make(const ClickOptions& options, const Section& section) {
  return std::make_unique<Click>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Head, ClickOptions>("click", "click prediction: the state of an item in its history to a logit, BCE",
                                   make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Click prediction from the states of items", tessera::register_components);
