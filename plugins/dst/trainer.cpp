#include "plugins/dst/trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {
namespace {

constexpr std::int64_t kBlock = 4096;          // items at once where nothing is recorded
constexpr std::int64_t kKmeansSample = 20000;  // rows from which the first codebooks are learnt, at most

std::vector<std::int32_t> shuffled(std::span<const std::int32_t> values, std::uint64_t seed, const std::string& name) {
  std::vector<std::int32_t> out(values.begin(), values.end());
  Random(seed, stream_of(name)).shuffle(std::span(out));
  return out;
}

TrainOptions optimizer_options(const DstOptions& options) {
  TrainOptions out;
  out.weight_decay = options.weight_decay;
  out.clip_norm = options.clip_norm;
  return out;
}

}  // namespace

DstTrainer::DstTrainer(DstNetwork& network, const DstOptions& options, std::uint64_t seed)
    : network_(network), options_(options), seed_(seed) {
  network_.initialize(seed, "dst/");
  optimizer_ = std::make_unique<Optimizer>(network_.parameters(), optimizer_options(options));
  usage_.emplace_back(network_.shared().options());
  for (std::size_t m = 0; m < network_.modalities(); ++m) usage_.emplace_back(network_.branch(m).quantizer().options());
  if (options.mi_weight > 0.0) add_estimators();
}

void DstTrainer::add_estimators() {
  for (std::size_t m = 0; m < network_.modalities(); ++m) {
    pairs_.push_back(std::make_unique<Pair>(str("shared.", m), m, m, true, options_));
    for (std::size_t n = m + 1; options_.mi_between && n < network_.modalities(); ++n)
      pairs_.push_back(std::make_unique<Pair>(str("between.", m, ".", n), m, n, false, options_));
  }
  for (auto& pair : pairs_)
    for (int half : {0, 1}) pair->club[half].initialize(seed_, str("dst/club/", pair->name, "/", half, "/"));
}

void DstTrainer::fit(const DstInput& input, std::span<const std::int32_t> items, const FitContext& context) {
  const auto rows = static_cast<std::int64_t>(items.size());
  const std::int64_t batches = (rows + options_.batch_size - 1) / options_.batch_size;
  const int total = options_.warmup_epochs + options_.epochs;
  steps_in_all_ = batches * total;
  for (int number = 0; number < total; ++number) {
    if (number == options_.warmup_epochs) {
      seed_codebooks(input, items, context);
      with_codes_ = true;
    }
    const double loss = epoch(input, items, number, context);
    context.progress(static_cast<double>(number + 1) / total, str("epoch ", number + 1, ", loss ", loss));
  }
}

double DstTrainer::epoch(const DstInput& input, std::span<const std::int32_t> items, int number,
                         const FitContext& context) {
  const auto order = shuffled(items, seed_, str("dst/epoch/", number));
  const auto rows = static_cast<std::int64_t>(order.size());
  const std::int64_t batches = (rows + options_.batch_size - 1) / options_.batch_size;
  double sum = 0.0;
  for (std::int64_t b = 0; b < batches; ++b) {  // of about one size: a rest of two rows would teach nothing
    if (context.stop()) throw Stopped("dst: stopped");
    const std::int64_t begin = rows * b / batches, end = rows * (b + 1) / batches;
    step(pick(input, std::span(order).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin))),
         number);
    sum += terms_.loss * static_cast<double>(end - begin);
  }
  return sum / static_cast<double>(rows);
}

void DstTrainer::step(const DstBatch& batch, int epoch) {
  DstNetwork::Parts parts;
  {
    Tape tape;
    parts = network_.forward(batch, with_codes_);
    Tensor loss = network_.reconstruction(batch, parts);
    terms_ = {};
    terms_.reconstruction = loss.item();
    const auto take = [&](const Tensor& term, double weight) {
      loss = add(loss, scale(term, weight));
      return term.item();
    };
    if (options_.shared_reconstruction > 0.0)
      terms_.shared_reconstruction = take(network_.shared_reconstruction(batch, parts), options_.shared_reconstruction);
    if (options_.align != "none" && options_.align_weight > 0.0)
      terms_.alignment = take(network_.alignment(batch, parts), options_.align_weight);
    if (with_codes_) terms_.quantization = take(network_.quantization(parts), options_.quantizer_weight);
    terms_.mi_weight = mi_weight();
    if (!pairs_.empty()) {
      const Tensor information = mutual_information(batch, parts);
      if (terms_.mi_weight > 0.0) terms_.mutual_information = take(information, terms_.mi_weight);
    }
    terms_.loss = loss.item();
    check_finite(epoch);
    tape.backward(loss);
  }
  terms_.gradient_norm = optimizer_->step(rate(), 1);
  check_finite(epoch);
  ++steps_;
  if (with_codes_) move_codebooks(parts);
}

// What the estimators see is standardised: otherwise private parts would hide by growing small.
Tensor DstTrainer::mutual_information(const DstBatch& batch, const DstNetwork::Parts& parts) {
  Tensor sum = Tensor::scalar(0.0, parts.consensus.dtype());
  for (auto& pair : pairs_) {
    const auto& place = batch.place[pair->first];
    const auto [first, second] = common_rows(place, batch.place[pair->second]);
    std::vector<std::int32_t> fold[2];
    for (std::size_t i = 0, at = 0; i < batch.fold.size(); ++i)
      if (place[i] >= 0 && batch.place[pair->second][i] >= 0)
        fold[batch.fold[i]].push_back(static_cast<std::int32_t>(at++));
    if (fold[0].size() < 2 || fold[1].size() < 2) continue;
    const Tensor& x = pair->shared ? parts.shared_of[pair->first] : gather_rows(parts.own[pair->first], first);
    const Tensor& y = pair->shared ? parts.own[pair->first] : gather_rows(parts.own[pair->second], second);
    const Tensor found = judged(*pair, standardize_columns(x), standardize_columns(y), fold);
    sum = add(sum, activate(found, Activation::relu));  // below 0 while theta lags
  }
  return sum;
}

Tensor DstTrainer::judged(Pair& pair, const Tensor& x, const Tensor& y, const std::vector<std::int32_t> (&fold)[2]) {
  Tensor sum;
  for (const int half : {0, 1}) {
    const auto &learnt = fold[half], &held = fold[1 - half];
    pair.club[half].learn(gather_rows(x.detach(), learnt), gather_rows(y.detach(), learnt), options_.mi_steps,
                          options_.mi_learning_rate);
    std::vector<std::int32_t> permutation;
    if (options_.mi_form == "sampled") {
      permutation.resize(held.size());
      std::iota(permutation.begin(), permutation.end(), 0);
      Random(seed_, stream_of(str("dst/pairs/", pair.name, "/", half, "/", steps_))).shuffle(std::span(permutation));
    }
    const Tensor bound = pair.club[half].bound(gather_rows(x, held), gather_rows(y, held), permutation);
    const Tensor share = scale(bound, static_cast<double>(held.size()) / static_cast<double>(x.rows()));
    sum = sum ? add(sum, share) : share;
  }
  return sum;
}

void DstTrainer::move_codebooks(const DstNetwork::Parts& parts) {
  for (std::size_t q = 0; q < usage_.size(); ++q) {
    ResidualQuantizer& quantizer = q == 0 ? network_.shared() : network_.branch(q - 1).quantizer();
    const ResidualQuantizer::Output& output = q == 0 ? parts.shared_codes : parts.own_codes[q - 1];
    if (output.residuals.empty()) continue;  // no item of the batch has this modality
    quantizer.update_averages(output);
    usage_[q].count(output);
    if (options_.revive_after == 0) continue;
    const auto alive = usage_[q].alive(options_.revive_after);
    usage_[q].taken(quantizer.revive(alive, output, seed_ + q, static_cast<std::uint64_t>(steps_)));
  }
}

void DstTrainer::seed_codebooks(const DstInput& input, std::span<const std::int32_t> items, const FitContext& context) {
  const NoTape quiet;
  KMeansOptions options;
  options.iterations = options_.kmeans_iterations;
  options.balance = options_.balance;
  options.sample = kKmeansSample;
  // Twice over the items: the private parts need the codes of the shared ones.
  std::vector<Tensor> consensus;
  std::vector<std::vector<Tensor>> own(network_.modalities());
  const auto blocks = [&](auto&& visit) {
    for (std::size_t begin = 0; begin < items.size(); begin += kBlock)
      visit(pick(input, items.subspan(begin, std::min<std::size_t>(kBlock, items.size() - begin))));
  };
  blocks([&](const DstBatch& batch) { consensus.push_back(network_.forward(batch, false).consensus); });
  network_.shared().seed(concat_rows(consensus), options, context, "dst/shared");
  blocks([&](const DstBatch& batch) {
    const auto parts = network_.forward(batch, true);
    for (std::size_t m = 0; m < own.size(); ++m)
      if (parts.own[m]) own[m].push_back(parts.own[m]);
  });
  for (std::size_t m = 0; m < own.size(); ++m)
    network_.branch(m).quantizer().seed(concat_rows(own[m]), options, context, str("dst/modality/", m));
}

void DstTrainer::check_finite(int epoch) const {
  if (std::isfinite(terms_.loss) && std::isfinite(terms_.gradient_norm)) return;
  std::vector<Tensor> values;
  for (const auto& [name, parameter] : optimizer_->parameters()) values.push_back(parameter->value);
  throw Error(str("dst: the loss is ", terms_.loss, " in epoch ", epoch + 1, ", step ", steps_ + 1, " (reconstruction ",
                  terms_.reconstruction, ", alignment ", terms_.alignment, ", quantisers ", terms_.quantization,
                  ", mutual information ", terms_.mutual_information, "; norm of the gradient ", terms_.gradient_norm,
                  ", of the weights ", global_norm(values), "); use a smaller learning_rate, or normalize the input"));
}

double DstTrainer::rate() const {
  if (options_.schedule != "cosine") return options_.learning_rate;
  const double share = static_cast<double>(steps_) / static_cast<double>(steps_in_all_);
  return options_.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
}

double DstTrainer::mi_weight() const {
  const double share = static_cast<double>(steps_) / static_cast<double>(steps_in_all_);
  if (share < options_.mi_delay) return 0.0;
  if (options_.mi_ramp <= 0.0) return options_.mi_weight;
  return options_.mi_weight * std::min(1.0, (share - options_.mi_delay) / options_.mi_ramp);
}

}  // namespace tessera
