#include "framework/nn/dot_product.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "framework/nn/own_items.h"
#include "framework/roles/frozen_weights.h"
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

bool counts_up(const std::vector<std::int32_t>& rows, std::int64_t end) {
  if (static_cast<std::int64_t>(rows.size()) != end) return false;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] != static_cast<std::int32_t>(i)) return false;
  return true;
}

}  // namespace

ItemTower::~ItemTower() = default;

DotProductHead::DotProductHead(std::string name, const DotProductOptions& options, const Section& section,
                               double deviation, MakeTower make_tower)
    : name_(std::move(name)),
      options_(options),
      section_(section),
      deviation_(deviation),
      make_tower_(std::move(make_tower)) {
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

DotProductHead::~DotProductHead() = default;

HeadSpec DotProductHead::spec(const ModelSpec& model) const {
  HeadSpec spec;
  spec.form = model.reads_histories && model.causal ? BatchForm::every_position : BatchForm::one_target;
  spec.has_item_tower = true;
  spec.answers_memories = model.reads_histories && !options_.repeat;  // repeat asks for the user's items
  if (draws_unseen(model)) spec.negatives = options_.negatives;
  return spec;
}

bool DotProductHead::draws_unseen(const ModelSpec& model) const {
  if (options_.negative_sampling == "unseen") return true;
  return options_.negative_sampling == "auto" && is_pairwise() && !model.reads_histories;
}

void DotProductHead::build(const BuildContext& context, const ModelSpec& model) {
  reads_histories_ = model.reads_histories;
  every_position_ = spec(model).form == BatchForm::every_position;
  seed_ = context.seed;
  if (options_.repeat && !reads_histories_)
    section_.fail("repeat", "repeat needs a model that reads histories; this one reads the graph of all interactions");
  if (options_.loss == "none" && !model.own_loss)
    section_.fail("loss",
                  "loss = \"none\" leaves training to the model, but this model has no loss of its own; take bpr "
                  "or another");
  check(!reads_histories_ || model.tower_width == 0 || model.tower_width == model.width, name_,
        ": a model of histories is scored with the tower's own vectors: tower_width ", model.tower_width,
        " is not its width ", model.width);
  const int width = model.tower_width > 0 ? model.tower_width : model.width;
  tower_ = make_tower_(context, width);
  if (options_.loss == "softmax") tower_->expect_all();
  add_module("tower", *tower_);
  if (options_.projection)
    projection_ = &add_parameter("projection", {model.width, model.width}, near_identity(deviation_));
  if (options_.repeat) repeat_ = &add_parameter("repeat", {1}, constant(0.0), false);
  unseen_ = draws_unseen(model);
  if (options_.loss == "softmax" || options_.loss == "none" || unseen_) return;
  if (options_.negative_sampling == "popularity")
    negatives_ = std::make_unique<Negatives>(train_counts(context.data), options_.popularity_power);
  else negatives_ = std::make_unique<Negatives>(context.catalog.items());
}

Tensor DotProductHead::side(const Tensor& x) const { return options_.normalize ? l2_normalize(x) : x; }

Tensor DotProductHead::queries(const Tensor& states) {
  const Tensor h = side(projection_ ? matmul(states, (*projection_)()) : states);
  return options_.temperature == 1.0 ? h : scale(h, 1.0 / options_.temperature);
}

DotProductHead::Pairs DotProductHead::vectors(Model& model, const Histories& histories) {
  if (reads_histories_) return vectors(model.summarize(histories));
  for (const std::int32_t user : histories.user)
    if (user < 0)
      throw Error(
          str(name_,
              ": the model reads the graph of training interactions: it answers for users of the data, not for a "
              "history of somebody unknown; ask for a user by name"));
  const Pairs& all = graph_vectors(model);
  return {gather_rows(all.users, histories.user), all.items};
}

DotProductHead::Pairs DotProductHead::vectors(const Memory& memory) {
  return {queries(memory.summary), tower_vectors()};
}

// Of all items as they are scored, of the tower alone; made once as long as the weights stay as they are.
const Tensor& DotProductHead::tower_vectors() {
  const std::uint64_t scope = FrozenWeights::current();
  if (scope == 0 || scope != kept_in_) {
    kept_ = {{}, side(tower_->all())};
    kept_in_ = scope;
  }
  return kept_.items;
}

// Of all users and items; made once as long as the weights stay as they are.
const DotProductHead::Pairs& DotProductHead::graph_vectors(Model& model) {
  const std::uint64_t scope = FrozenWeights::current();
  if (scope == 0 || scope != kept_in_) {
    const auto [users, items] = model.propagate(tower_.get());
    kept_ = {queries(users), side(items)};
    kept_in_ = scope;
  }
  return kept_;
}

Tensor DotProductHead::loss(Model& model, const TrainBatch& batch) {
  kept_ = {};
  kept_in_ = 0;
  if (options_.loss == "none") return {};
  if (options_.loss == "softmax") return softmax(model, batch);
  const Sampled s = sampled(model, batch);
  return options_.loss == "sampled_softmax" ? sampled_softmax(s) : pairwise(s);
}

// States that have a target, with their targets.
Tensor DotProductHead::states(Model& model, const TrainBatch& batch, Targets& targets) const {
  const Memory memory = model.encode(batch.histories);
  if (!every_position_) {
    targets.item = batch.target;
    return memory.summary;
  }
  targets = every_target(memory, batch);
  return counts_up(targets.row, memory.states.rows()) ? memory.states : gather_rows(memory.states, targets.row);
}

Tensor DotProductHead::softmax(Model& model, const TrainBatch& batch) {
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
std::vector<std::int32_t> DotProductHead::draw(const Targets& targets, const TrainBatch& batch) const {
  const auto each = static_cast<std::size_t>(options_.negatives);
  if (!unseen_) {
    TrainingScope* scope = TrainingScope::current();
    Random random(scope ? scope->seed() : seed_,
                  scope ? scope->next_stream() : stream_of(str("negatives/", batch.step)));
    const std::size_t count = is_pairwise() ? targets.item.size() * each : each;
    return negatives_->draw(static_cast<std::int64_t>(count), random);
  }
  const std::size_t have = batch.target.empty() ? 0 : batch.negative.size() / batch.target.size();
  check(have >= each, name_, ": the batch has ", have, " negatives a target, expected ", each, " or more");
  std::vector<std::int32_t> negative;
  negative.reserve(targets.item.size() * each);
  for (std::size_t i = 0; i < targets.item.size(); ++i) {
    const std::size_t place = every_position_ ? static_cast<std::size_t>(targets.place[i]) : i;
    const auto from = batch.negative.begin() + static_cast<std::ptrdiff_t>(place * have);
    negative.insert(negative.end(), from, from + static_cast<std::ptrdiff_t>(each));
  }
  return negative;
}

DotProductHead::Sampled DotProductHead::sampled(Model& model, const TrainBatch& batch) {
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
Tensor DotProductHead::sampled_softmax(const Sampled& s) const {
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
Tensor DotProductHead::pairwise(const Sampled& s) const {
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
std::vector<float> DotProductHead::products(const Pairs& pairs, std::span<const std::int64_t> offset,
                                            std::span<const std::int32_t> items) {
  std::vector<std::int32_t> row(items.size());
  for (std::size_t b = 0; b + 1 < offset.size(); ++b)
    std::fill(row.begin() + offset[b], row.begin() + offset[b + 1], static_cast<std::int32_t>(b));
  const Tensor dots = row_dot(gather_rows(pairs.users, row), gather_rows(pairs.items, items)).to(DType::f32);
  return {dots.values<float>().begin(), dots.values<float>().end()};
}

Ranking DotProductHead::best(const Pairs& pairs, const RankRequest& request) {
  TopK best = topk_inner_product(pairs.users, pairs.items, request.k, request.excluded_offset, request.excluded,
                                 request.allowed);
  Ranking ranking;
  ranking.k = request.k;
  ranking.item = std::move(best.index);
  ranking.score = std::move(best.score);
  return ranking;
}

Ranking DotProductHead::rank_memory(Model&, const Memory& memory, const RankRequest& request) {
  const NoTape no_tape;
  check(!repeat_, name_, ": repeat = true asks for the user's items, which a memory does not hold");
  return best(vectors(memory), request);
}

Ranking DotProductHead::rank(Model& model, const Histories& histories, const RankRequest& request) {
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

std::vector<float> DotProductHead::score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
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

std::vector<float> DotProductHead::score_memory(Model&, const Memory& memory, std::span<const std::int64_t> offset,
                                                std::span<const std::int32_t> items) {
  const NoTape no_tape;
  check(!repeat_, name_, ": repeat = true asks for the user's items, which a memory does not hold");
  return products(vectors(memory), offset, items);
}

}  // namespace tessera
