#include "framework/nn/quantized_autoencoder.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/losses/losses.h"

namespace tessera {
namespace {

constexpr double kCollapsed =
    0.05;  // share of the first level's codes in use after an epoch, below which training is lost

std::vector<std::int64_t> encoder_widths(const AutoencoderOptions& options) {
  std::vector<std::int64_t> widths{options.input};
  widths.insert(widths.end(), options.widths.begin(), options.widths.end());
  return widths;
}

std::vector<std::int64_t> decoder_widths(const AutoencoderOptions& options) {
  auto widths = encoder_widths(options);
  std::reverse(widths.begin(), widths.end());
  return widths;
}

QuantizerOptions quantizer_options(const AutoencoderOptions& options) {
  QuantizerOptions out = options.quantizer;
  out.width = options.widths.empty() ? options.input : options.widths.back();
  return out;
}

std::vector<std::int32_t> shuffled(std::int64_t rows, std::uint64_t seed, const std::string& name) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  Random(seed, stream_of(name)).shuffle(std::span(order));
  return order;
}

}  // namespace

QuantizedAutoencoder::QuantizedAutoencoder(const AutoencoderOptions& options)
    : options_(options),
      encoder_(encoder_widths(options), options.encoder_activation),
      quantizer_(quantizer_options(options)),
      decoder_(decoder_widths(options), options.decoder_activation) {
  options_.quantizer = quantizer_.options();
  add_module("encoder", encoder_);
  add_module("quantizer", quantizer_);
  add_module("decoder", decoder_);
}

QuantizedAutoencoder::~QuantizedAutoencoder() = default;

Tensor QuantizedAutoencoder::loss(const Tensor& x, ResidualQuantizer::Output& quantized) {
  quantized = quantizer_.quantize(encode(x));
  const Tensor reconstruction = mse(decode(quantized.vectors), x);
  return add(reconstruction, scale(quantized.loss, options_.quantizer_weight));
}

Tensor QuantizedAutoencoder::plain_loss(const Tensor& x) { return mse(decode(encode(x)), x); }

AutoencoderTrainer::AutoencoderTrainer(QuantizedAutoencoder& network, const AutoencoderTraining& training,
                                       std::uint64_t seed)
    : network_(network), training_(training), seed_(seed) {
  for (auto& [name, parameter] : network.parameters()) parameters_.push_back(parameter);
  const QuantizerOptions& quantizer = network.options().quantizer;
  hits_.assign(static_cast<std::size_t>(quantizer.levels) * static_cast<std::size_t>(quantizer.codes), 0);
  state_.resize(parameters_.size());
}

double AutoencoderTrainer::step(const Tensor& batch, double learning_rate) {
  double value = 0.0;
  {
    Tape tape;
    const Tensor loss = warming_up_ ? network_.plain_loss(batch) : network_.loss(batch, last_);
    value = loss.item();
    tape.backward(loss);
  }
  std::vector<AdamWTensor> update;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& parameter = *parameters_[i];
    if (!parameter.gradient) continue;  // moving averages, and codebooks while warming up
    AdamWTensor& state = state_[i];
    if (!state.first) {
      state.first = Tensor::zeros(parameter.value.shape());
      state.second = Tensor::zeros(parameter.value.shape());
    }
    state.value = parameter.value;
    state.gradient = std::move(parameter.gradient);
    state.weight_decay = parameter.decays ? training_.weight_decay : 0.0;
    update.push_back(state);
    state.gradient = {};
    parameter.gradient = {};
  }
  AdamWStep options;
  options.learning_rate = learning_rate;
  options.step = ++steps_;
  adamw(update, options);
  if (warming_up_) return value;
  if (network_.options().quantizer.moving_average) network_.quantizer().update_averages(last_);
  const QuantizerOptions& quantizer = network_.options().quantizer;
  for (std::size_t i = 0; i < last_.codes.size(); ++i) {
    const std::size_t level = i % static_cast<std::size_t>(quantizer.levels);
    ++hits_[level * static_cast<std::size_t>(quantizer.codes) + static_cast<std::size_t>(last_.codes[i])];
  }
  return value;
}

double AutoencoderTrainer::epoch(const Tensor& x, int number) {
  const auto order = shuffled(x.rows(), seed_, str("autoencoder/epoch/", number));
  std::fill(hits_.begin(), hits_.end(), 0);
  double sum = 0.0;
  for (std::int64_t begin = 0; begin < x.rows(); begin += training_.batch) {
    const std::int64_t rows = std::min(training_.batch, x.rows() - begin);
    const auto picked = std::span(order).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(rows));
    sum += step(gather_rows(x, picked), rate_at(steps_)) * static_cast<double>(rows);
  }
  return sum / static_cast<double>(std::max<std::int64_t>(1, x.rows()));
}

double AutoencoderTrainer::rate_at(std::int64_t step) const {
  const double peak = training_.learning_rate * rate_share_;
  if (training_.schedule != "cosine" || steps_in_all_ == 0) return peak;
  const double share = std::min(1.0, static_cast<double>(step) / static_cast<double>(steps_in_all_));
  return peak * 0.5 * (1.0 + std::cos(std::numbers::pi * share));
}

double AutoencoderTrainer::used(int level) const {
  const std::int64_t codes = network_.options().quantizer.codes;
  const auto begin = hits_.begin() + level * codes;
  const auto zero = std::count(begin, begin + codes, 0);
  return 1.0 - static_cast<double>(zero) / static_cast<double>(codes);
}

void AutoencoderTrainer::seed_codebooks(const Tensor& x, const FitContext& context) {
  ResidualQuantizer& quantizer = network_.quantizer();
  if (training_.start == "uniform") return;  // as initialised
  Tensor z({x.rows(), quantizer.options().width});
  for (std::int64_t begin = 0; begin < x.rows(); begin += 4096) {
    const std::int64_t end = std::min(x.rows(), begin + 4096);
    z.row_range(begin, end).copy_from(network_.encode(x.row_range(begin, end)));
  }
  KMeansOptions options = training_.kmeans;
  if (training_.start == "seeds") options.iterations = 0;
  quantizer.seed(z, options, context, "autoencoder");
}

void AutoencoderTrainer::revive(int number) {
  const auto rows = network_.quantizer().revive(hits_, last_, seed_, static_cast<std::uint64_t>(number));
  const Parameter* books = &network_.quantizer().codebooks();
  const std::int64_t width = network_.options().quantizer.width;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (parameters_[i] != books || !state_[i].first) continue;
    for (const std::int64_t row : rows) {  // the moments of the old code say nothing about the new one
      std::fill_n(state_[i].first.data<float>() + row * width, width, 0.0f);
      std::fill_n(state_[i].second.data<float>() + row * width, width, 0.0f);
    }
  }
}

bool AutoencoderTrainer::run(const Tensor& x, const FitContext& context, double rate_share) {
  network_.initialize(seed_, "autoencoder/");
  state_.assign(parameters_.size(), {});
  steps_ = 0;
  rate_share_ = rate_share;
  if (!network_.has_network()) {  // residual k-means: nothing to train
    seed_codebooks(x, context);
    return true;
  }
  const std::int64_t batches = (x.rows() + training_.batch - 1) / training_.batch;
  const int warmup = training_.warmup_epochs, total = warmup + training_.epochs;
  steps_in_all_ = batches * total;
  for (int number = 0; number < total; ++number) {
    if (context.stop()) throw Stopped("autoencoder: stopped");
    warming_up_ = number < warmup;
    if (number == warmup) seed_codebooks(x, context);
    const double loss = epoch(x, number);
    check(std::isfinite(loss), "autoencoder: the loss is ", loss, " in epoch ", number + 1,
          "; use a smaller learning_rate");
    const int trained = number + 1 - warmup;
    if (trained == 1 && used(0) < kCollapsed) return false;
    const bool last_tenth = number + 1 > total - std::max(1, training_.epochs / 10);
    if (trained > 0 && training_.revive_every > 0 && trained % training_.revive_every == 0 && !last_tenth)
      revive(number);
    context.progress(static_cast<double>(number + 1) / total, str("epoch ", number + 1, ", loss ", loss));
  }
  warming_up_ = false;
  last_ = {};
  return true;
}

void AutoencoderTrainer::fit(const Tensor& x, const FitContext& context) {
  double share = 1.0;
  for (int attempt = 0; attempt <= training_.restarts; ++attempt, share /= 3.0) {
    if (run(x, context, share)) return;
    context.say(str("autoencoder: collapsed: after one epoch ", std::lround(100.0 * used(0)),
                    " % of the first level's codes are in use",
                    attempt < training_.restarts ? "; once more with a third of the learning rate" : ""));
  }
  throw Error(
      "autoencoder: collapsed at every learning rate tried; use start = 'kmeans', more warmup_epochs, a smaller "
      "learning_rate, or normalize the input");
}

std::vector<std::int32_t> encode_rows(QuantizedAutoencoder& network, const Tensor& x, std::int64_t block) {
  const NoTape quiet;
  std::vector<std::int32_t> codes;
  codes.reserve(static_cast<std::size_t>(x.rows() * network.options().quantizer.levels));
  for (std::int64_t begin = 0; begin < x.rows(); begin += block) {
    const auto part = network.quantizer().encode(network.encode(x.row_range(begin, std::min(x.rows(), begin + block))));
    codes.insert(codes.end(), part.begin(), part.end());
  }
  return codes;
}

}  // namespace tessera
