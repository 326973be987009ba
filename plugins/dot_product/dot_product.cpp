#include <algorithm>
#include <limits>
#include <numeric>

#include "framework/config/config.h"
#include "framework/nn/targets.h"
#include "framework/plugin/plugin.h"
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
  std::string tower = "sum", loss = "softmax", negative_sampling = "uniform";
  int negatives = 1;
  double popularity_power = 0.75, label_smoothing = 0.0, temperature = 1.0, deviation = 0.02;
  bool normalize = false, projection = false, repeat = false;

  template <class V>
  void describe(V& v) {
    v("tower", tower, "an item's vector: sum or mean of its token embeddings", {"sum", "mean"});
    v("loss", loss, "softmax over all items; sampled_softmax; bce; bpr", {"softmax", "sampled_softmax", "bce", "bpr"});
    v("negatives", negatives, "bce, bpr: negatives a target; sampled_softmax: negatives a batch", 1, 1000000);
    v("negative_sampling", negative_sampling, "negatives alike, or by popularity ^ popularity_power",
      {"uniform", "popularity"});
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
  Pairs vectors(const Memory& memory) { return {queries(memory.summary), side(tower_->all())}; }
  static Ranking best(const Pairs& pairs, const RankRequest& request);
  static std::vector<float> products(const Pairs& pairs, std::span<const std::int64_t> offset,
                                     std::span<const std::int32_t> items);
  Tensor sampled_softmax(const Tensor& h, const Tensor& positive, const Targets& targets, const Tensor& all,
                         Random& random);
  Tensor pairwise(const Tensor& h, const Tensor& positive, const Targets& targets, const Tensor& all, Random& random);
  Tensor items_at(const Tensor& all, std::span<const std::int32_t> items);

  Options options_;
  Section section_;
  std::unique_ptr<ItemTower> tower_;
  std::unique_ptr<Negatives> negatives_;
  Parameter* projection_ = nullptr;  // (D, D), or null
  Parameter* repeat_ = nullptr;      // (1), or null
  bool reads_histories_ = true, every_position_ = true;
  std::uint64_t seed_ = 1;
};

DotProduct::DotProduct(const Options& options, const Section& section) : options_(options), section_(section) {
  const bool softmax = options.loss == "softmax" || options.loss == "sampled_softmax";
  if (!softmax && options.label_smoothing > 0.0)
    section.fail("label_smoothing", str("label_smoothing belongs to the softmax losses, but loss = \"", options.loss,
                                        "\"; remove one of them"));
  if (options.repeat && options.loss != "softmax")
    section.fail("repeat", str("repeat is learnt by loss = \"softmax\" alone, but loss = \"", options.loss,
                               "\"; remove one of them"));
  for (const char* key : {"negatives", "negative_sampling", "popularity_power"})
    if (options.loss == "softmax" && section.has(key))
      section.fail(key, str(key,
                            " has no meaning with loss = \"softmax\", which sees all items; remove it, or take loss = "
                            "\"sampled_softmax\""));
}

HeadSpec DotProduct::spec(const ModelSpec& model) const {
  HeadSpec spec;
  spec.form = model.reads_histories && model.causal ? BatchForm::every_position : BatchForm::one_target;
  spec.has_item_tower = true;
  spec.answers_memories = model.reads_histories && !options_.repeat;  // repeat asks for the user's items
  return spec;
}

void DotProduct::build(const BuildContext& context, const ModelSpec& model) {
  reads_histories_ = model.reads_histories;
  every_position_ = spec(model).form == BatchForm::every_position;
  seed_ = context.seed;
  if (options_.repeat && !reads_histories_)
    section_.fail("repeat", "repeat needs a model that reads histories; this one reads the graph of all interactions");
  tower_ = std::make_unique<ItemTower>(context.catalog, model.width, options_.tower == "mean", options_.deviation);
  add_module("tower", *tower_);
  if (options_.projection)
    projection_ = &add_parameter("projection", {model.width, model.width}, near_identity(options_.deviation));
  if (options_.repeat) repeat_ = &add_parameter("repeat", {1}, constant(0.0), false);
  if (options_.loss == "softmax") return;
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
  const auto [users, items] = model.propagate(tower_.get());
  return {queries(gather_rows(users, histories.user)), side(items)};
}

// Vectors of some items: from those of all where they were made, else from the tower alone.
Tensor DotProduct::items_at(const Tensor& all, std::span<const std::int32_t> items) {
  return side(all ? gather_rows(all, items) : tower_->vectors(items));
}

Tensor DotProduct::loss(Model& model, const TrainBatch& batch) {
  Targets targets;
  Tensor h, all;
  if (reads_histories_) {
    const Memory memory = model.encode(batch.histories);
    if (every_position_) {
      targets = every_target(memory, batch);
      h = counts_up(targets.row, memory.states.rows()) ? memory.states : gather_rows(memory.states, targets.row);
    } else {
      targets.item = batch.target;
      h = memory.summary;
    }
  } else {
    const auto [users, items] = model.propagate(tower_.get());
    targets.item = batch.target;
    h = gather_rows(users, batch.histories.user);
    all = items;
  }
  h = queries(h);
  if (options_.loss == "softmax") {
    MarkedClasses own;
    if (repeat_) {
      own = every_position_ ? own_items_at(batch.histories, targets.place) : own_items(batch.histories);
      own.value = (*repeat_)();
    }
    return linear_cross_entropy(h, side(all ? all : tower_->all()), {}, targets.item, options_.label_smoothing, own);
  }
  TrainingScope* scope = TrainingScope::current();
  Random random(scope ? scope->seed() : seed_, scope ? scope->next_stream() : stream_of(str("negatives/", batch.step)));
  const Tensor positive = row_dot(h, items_at(all, targets.item));
  return options_.loss == "sampled_softmax" ? sampled_softmax(h, positive, targets, all, random)
                                            : pairwise(h, positive, targets, all, random);
}

// Negatives are shared by the batch; scores are corrected by their log probability, and a negative that is the target
// itself does not count (Jean et al. 2015).
Tensor DotProduct::sampled_softmax(const Tensor& h, const Tensor& positive, const Targets& targets, const Tensor& all,
                                   Random& random) {
  const std::int64_t rows = h.rows(), drawn = options_.negatives;
  const std::vector<std::int32_t> negative = negatives_->draw(drawn, random);
  std::vector<float> hits(static_cast<std::size_t>(rows * drawn)), own(static_cast<std::size_t>(rows));
  std::vector<float> correction(negative.size());
  for (std::size_t j = 0; j < negative.size(); ++j)
    correction[j] = static_cast<float>(-negatives_->log_probability(negative[j]));
  for (std::size_t i = 0; i < own.size(); ++i) {
    own[i] = static_cast<float>(-negatives_->log_probability(targets.item[i]));
    for (std::size_t j = 0; j < negative.size(); ++j)
      hits[i * negative.size() + j] = negative[j] == targets.item[i] ? -1e30f : correction[j];
  }
  const DType type = h.dtype();
  const Tensor scores =
      add(matmul(h, items_at(all, negative), false, true), Tensor::from(hits, {rows, drawn}).to(type));
  const Tensor first = add(positive, Tensor::from(own, {rows}).to(type)).reshape({rows, 1});
  const std::vector<std::int32_t> target(own.size(), 0);
  return cross_entropy(concat_columns({first, scores}), target, options_.label_smoothing);
}

// bce: positives against 1 and negatives against 0, each side its mean; bpr: every positive against each of its
// negatives.
Tensor DotProduct::pairwise(const Tensor& h, const Tensor& positive, const Targets& targets, const Tensor& all,
                            Random& random) {
  const auto each = static_cast<std::size_t>(options_.negatives);
  const std::vector<std::int32_t> negative =
      negatives_->draw(static_cast<std::int64_t>(targets.item.size() * each), random);
  std::vector<std::int32_t> repeat(negative.size());
  for (std::size_t i = 0; i < repeat.size(); ++i) repeat[i] = static_cast<std::int32_t>(i / each);
  const Tensor against = row_dot(each == 1 ? h : gather_rows(h, repeat), items_at(all, negative));
  if (options_.loss == "bpr") {
    const auto rows = static_cast<std::int64_t>(repeat.size());
    return bpr(each == 1 ? positive : gather_rows(positive.reshape({positive.numel(), 1}), repeat).reshape({rows}),
               against);
  }
  return add(bce_with_logits(positive, std::vector<float>(targets.item.size(), 1.0f)),
             bce_with_logits(against, std::vector<float>(negative.size(), 0.0f)));
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
