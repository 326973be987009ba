#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "framework/nn/club.h"
#include "framework/nn/code_usage.h"
#include "framework/roles/context.h"
#include "framework/train/optimizer.h"
#include "plugins/dst/network.h"

namespace tessera {

// Trains the network on the items given: warm-up without codes, k-means of every level, then all terms. A pure function
// of (options, input, items, seed) for any number of threads. Throws Stopped where the context says so.
class DstTrainer {
 public:
  DstTrainer(DstNetwork& network, const DstOptions& options, std::uint64_t seed);
  void fit(const DstInput& input, std::span<const std::int32_t> items, const FitContext& context);

  struct Terms {  // of the last step
    double loss = 0.0, reconstruction = 0.0, shared_reconstruction = 0.0, quantization = 0.0, alignment = 0.0,
           mutual_information = 0.0, mi_weight = 0.0, gradient_norm = 0.0;
  };
  const Terms& terms() const { return terms_; }

 private:
  // Estimators of the shared part and a modality's own, or of two modalities' own. There are two: each learns one half
  // of the items and judges the other. One that judges what it has learnt would, with few items, know them by heart,
  // and the penalty would be on what it remembers.
  struct Pair {
    std::string name;
    std::size_t first, second;
    bool shared;
    Club club[2];
    Pair(std::string n, std::size_t a, std::size_t b, bool s, const DstOptions& options)
        : name(std::move(n)),
          first(a),
          second(b),
          shared(s),
          club{{options.width, options.width, options.mi_hidden}, {options.width, options.width, options.mi_hidden}} {}
  };

  void add_estimators();
  void seed_codebooks(const DstInput& input, std::span<const std::int32_t> items, const FitContext& context);
  double epoch(const DstInput& input, std::span<const std::int32_t> items, int number, const FitContext& context);
  void step(const DstBatch& batch, int epoch);
  Tensor mutual_information(const DstBatch& batch, const DstNetwork::Parts& parts);
  Tensor judged(Pair& pair, const Tensor& x, const Tensor& y, const std::vector<std::int32_t> (&fold)[2]);
  void move_codebooks(const DstNetwork::Parts& parts);
  void check_finite(int epoch) const;
  double rate() const;
  double mi_weight() const;

  DstNetwork& network_;
  const DstOptions& options_;
  std::uint64_t seed_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<CodeUsage> usage_;  // shared, then each modality
  bool with_codes_ = false;
  std::int64_t steps_ = 0, steps_in_all_ = 0;
  Terms terms_;
};

}  // namespace tessera
