#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/nn/kmeans.h"
#include "framework/nn/module.h"
#include "framework/roles/context.h"
#include "tensor/core/export.h"

namespace tessera {

struct QuantizerOptions {
  int levels = 3;               // L
  int codes = 256;              // K of each level
  std::int64_t width = 32;      // D of a code
  bool moving_average = false;  // codebooks follow the mean of their rows (EMA); else they learn by gradient
  double decay = 0.99;          // of the moving average
  bool rotation = false;        // gradient by the rotation trick; else straight through
  double commitment = 0.25;     // beta
  double sinkhorn = 0.0;        // epsilon of the uniform assignment on the last level while training; 0: nearest code
  bool gradient_through_codes =
      false;  // residuals carry the gradient to the codes of earlier levels (the published MMGRec)
};

// Residual quantisation (RQ-VAE: Lee et al. 2022, TIGER: Rajput et al. 2023):
//   r_1 = z;  k_l = argmin_k |r_l - e_(l,k)|^2;  q_l = e_(l,k_l);  r_(l+1) = r_l - q_l;  q = sum_l q_l
//   loss = sum_l mean |sg(r_l) - q_l|^2 + beta mean |r_l - sg(q_l)|^2      (mean over all N D numbers)
// The first term is left out where codebooks are moving averages. The quantised vectors hand their gradient to z
//   straight through: dz = dq;
//   by rotation (Fifty et al. 2024), with unit vectors u of z, v of q and w of u + v:
//     dz = |q|/|z| (dq - 2 (w . dq) w + 2 (v . dq) u), which turns the gradient as u was turned into v.
// z: (N, D) f32 or f64. Const members are thread-safe.
class TESSERA_API ResidualQuantizer : public Module {
 public:
  explicit ResidualQuantizer(const QuantizerOptions& options);
  ~ResidualQuantizer() override;

  struct Output {
    Tensor vectors;                   // (N, D) q, recorded
    Tensor loss;                      // scalar, recorded
    std::vector<std::int32_t> codes;  // (N, L)
    std::vector<Tensor> residuals;    // L tensors (N, D): what each level quantised
  };
  Output quantize(const Tensor& z);                         // training
  std::vector<std::int32_t> encode(const Tensor& z) const;  // (N, L) nearest codes
  Tensor decode(std::span<const std::int32_t> codes,
                int levels) const;                     // (N, L) -> (N, D), sum of the first levels; -1 adds none
  Tensor last_level_distances(const Tensor& z) const;  // (N, K)

  // Codebooks from residual k-means of z, one level after the other.
  void seed(const Tensor& z, const KMeansOptions& options, const FitContext& context, const std::string& name);
  // One step of the moving averages towards the rows of this output.
  void update_averages(const Output& output);
  // Codes with hits[l K + k] = 0 move to random residuals of this output, with a little noise. Returns their rows l K +
  // k.
  std::vector<std::int64_t> revive(std::span<const std::int64_t> hits, const Output& output, std::uint64_t seed,
                                   std::uint64_t step);

  const QuantizerOptions& options() const { return options_; }
  Tensor codebook(int level) const;              // (K, D), a view
  Parameter& codebooks() { return codebooks_; }  // (L, K, D)

 private:
  QuantizerOptions options_;
  Parameter& codebooks_;
  Tensor average_count_, average_sum_;  // (L K), (L K, D); empty until the first update
};

}  // namespace tessera
