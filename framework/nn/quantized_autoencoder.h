#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/nn/mlp.h"
#include "framework/nn/residual_quantizer.h"
#include "tensor/ops/adamw/adamw.h"

namespace tessera {

// Encoder, residual quantiser, decoder: an RQ-VAE. The decoder mirrors the encoder.
//   loss = mean (x - decode(q))^2 + quantizer_weight * quantiser loss
// All terms are means over all their numbers: a sum in one and a mean in the other makes the encoder collapse.
struct AutoencoderOptions {
  std::int64_t input = 0;  // D of x
  std::vector<std::int64_t> widths{512, 256, 128,
                                   32};  // of the encoder; the last is the code's. Empty: no network, codes of width D
  Activation encoder_activation = Activation::relu, decoder_activation = Activation::relu;
  double quantizer_weight = 1.0;
  QuantizerOptions quantizer;  // its width is set here
};

class TESSERA_API QuantizedAutoencoder : public Module {
 public:
  explicit QuantizedAutoencoder(const AutoencoderOptions& options);
  ~QuantizedAutoencoder() override;

  Tensor encode(const Tensor& x) { return encoder_(x); }               // (N, D) -> (N, width)
  Tensor decode(const Tensor& z) { return decoder_(z); }               // (N, width) -> (N, D)
  Tensor loss(const Tensor& x, ResidualQuantizer::Output& quantized);  // recorded; scalar
  Tensor plain_loss(const Tensor& x);  // without the quantiser: mean (x - decode(encode(x)))^2
  ResidualQuantizer& quantizer() { return quantizer_; }
  const AutoencoderOptions& options() const { return options_; }
  bool has_network() const { return !options_.widths.empty(); }

 private:
  AutoencoderOptions options_;
  Mlp encoder_;
  ResidualQuantizer quantizer_;
  Mlp decoder_;
};

struct AutoencoderTraining {
  int epochs = 100;
  int warmup_epochs = 10;  // without the quantiser, before the codebooks get their first values
  std::int64_t batch = 1024;
  double learning_rate = 1e-3;
  std::string schedule = "cosine";  // constant, cosine
  double weight_decay = 0.0;
  std::string start =
      "kmeans";  // first codebooks: kmeans (of all rows), seeds (of k-means++, no rounds), uniform (-1/K .. 1/K)
  KMeansOptions kmeans;
  int revive_every = 10;  // epochs after which codes that nothing used move to random rows; 0: never
  int restarts = 2;       // collapse guard: runs again with a third of the learning rate, so many times
};

// Trains it by AdamW on rows of one matrix. Steps are public, so that they can be timed and tested. Not thread-safe. A
// pure function of (network, data, seed) for any number of threads.
class TESSERA_API AutoencoderTrainer {
 public:
  AutoencoderTrainer(QuantizedAutoencoder& network, const AutoencoderTraining& training, std::uint64_t seed);

  double step(const Tensor& batch, double learning_rate);  // one update; returns the loss
  double epoch(const Tensor& x, int number);  // shuffle by (seed, number) and all its steps; returns the mean loss
  void fit(const Tensor& x,
           const FitContext& context);  // everything: initialise, warm up, seed the codebooks, train, guard
  std::span<const std::int64_t> hits() const { return hits_; }  // (L K) rows a code got in the last epoch

 private:
  bool run(const Tensor& x, const FitContext& context, double rate_share);  // false: collapsed
  void seed_codebooks(const Tensor& x, const FitContext& context);
  void revive(int number);
  double used(int level) const;
  double rate_at(std::int64_t step) const;

  QuantizedAutoencoder& network_;
  AutoencoderTraining training_;
  std::uint64_t seed_;
  std::vector<AdamWTensor> state_;
  std::vector<Parameter*> parameters_;
  std::vector<std::int64_t> hits_;
  ResidualQuantizer::Output last_;
  std::int64_t steps_ = 0, steps_in_all_ = 0;
  double rate_share_ = 1.0;
  bool warming_up_ = false;
};

// Codes of all rows, in blocks: (N, L).
TESSERA_API std::vector<std::int32_t> encode_rows(QuantizedAutoencoder& network, const Tensor& x,
                                                  std::int64_t block = 4096);

}  // namespace tessera
