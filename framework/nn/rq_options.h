#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/nn/quantized_autoencoder.h"

namespace tessera {

// The options of an RQ-VAE and its training, shared by the tokenizers that have one in them: they inherit them, change
// defaults and add their own.
struct RqOptions {
  std::vector<std::int64_t> widths{512, 256, 128, 32};
  int levels = 3;
  int codes = 256;
  std::string codebook = "ema";
  double decay = 0.99;
  std::string gradient = "straight_through";
  double commitment = 0.25;
  double quantizer_weight = 1.0;
  double sinkhorn = 0.0;
  std::string start = "kmeans";
  int kmeans_iterations = 50;
  int kmeans_restarts = 1;
  double balance = 1.2;
  int warmup_epochs = 10;
  int epochs = 100;
  int batch_size = 1024;
  double learning_rate = 1e-3;
  std::string schedule = "cosine";
  double weight_decay = 0.0;
  int revive_every = 10;
  int restarts = 2;

  template <class V>
  void describe(V& v) {
    v("widths", widths,
      "layers of the encoder, the last is the code's width; empty: residual k-means without a network", 1, 65536);
    v("levels", levels, "codes an item", 1, 16);
    v("codes", codes, "size of each codebook", 2, 65536);
    v("codebook", codebook, "codebooks follow the moving average of their rows, or the gradient", {"ema", "gradient"});
    v("decay", decay, "ema: decay of the moving average", 0.0, 0.9999);
    v("gradient", gradient, "how the encoder gets its gradient through the codes", {"straight_through", "rotation"});
    v("commitment", commitment, "weight of the term that keeps the encoder near its codes", 0.0, 100.0);
    v("quantizer_weight", quantizer_weight, "weight of the quantiser's terms beside the reconstruction; all are means",
      0.0, 1000.0);
    v("sinkhorn", sinkhorn,
      "epsilon of the uniform assignment on the last level while training; 0: nearest code, 0.003 is usual", 0.0, 10.0);
    v("start", start, "first codebooks: k-means of all items, its seeds alone, or small random numbers",
      {"kmeans", "seeds", "uniform"});
    v("kmeans_iterations", kmeans_iterations, "rounds of k-means a level", 1, 10000);
    v("kmeans_restarts", kmeans_restarts, "runs of k-means a level, the best is kept", 1, 100);
    v("balance", balance, "k-means: largest cluster while learning, as a multiple of the mean; 0: no bound", 0.0,
      1000.0);
    v("warmup_epochs", warmup_epochs, "epochs without codes before the codebooks start", 0, 1000000);
    v("epochs", epochs, "passes over the items", 1, 1000000);
    v("batch_size", batch_size, "items a step", 1, 1000000);
    v("learning_rate", learning_rate, "AdamW's learning rate at its peak", 1e-9, 10.0);
    v("schedule", schedule, "learning rate over the epochs", {"constant", "cosine"});
    v("weight_decay", weight_decay, "AdamW's decoupled decay of the network's weights", 0.0, 10.0);
    v("revive_every", revive_every, "epochs after which unused codes move to random items; 0: never", 0, 1000000);
    v("restarts", restarts, "runs again with a third of the learning rate when the codes collapse", 0, 10);
  }
};

inline AutoencoderOptions network_options(const RqOptions& options, std::int64_t input) {
  AutoencoderOptions out;
  out.input = input;
  out.widths = options.widths;
  out.quantizer_weight = options.quantizer_weight;
  out.quantizer.levels = options.levels;
  out.quantizer.codes = options.codes;
  out.quantizer.moving_average = options.codebook == "ema";
  out.quantizer.decay = options.decay;
  out.quantizer.rotation = options.gradient == "rotation";
  out.quantizer.commitment = options.commitment;
  out.quantizer.sinkhorn = options.sinkhorn;
  return out;
}

inline AutoencoderTraining training_options(const RqOptions& options) {
  AutoencoderTraining out;
  out.epochs = options.epochs;
  out.warmup_epochs = options.warmup_epochs;
  out.batch = options.batch_size;
  out.learning_rate = options.learning_rate;
  out.schedule = options.schedule;
  out.weight_decay = options.weight_decay;
  out.start = options.start;
  out.kmeans.iterations = options.kmeans_iterations;
  out.kmeans.restarts = options.kmeans_restarts;
  out.kmeans.balance = options.balance;
  out.revive_every = options.revive_every;
  out.restarts = options.restarts;
  return out;
}

}  // namespace tessera
