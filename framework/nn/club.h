#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "framework/nn/mlp.h"
#include "framework/train/optimizer.h"

namespace tessera {

// An upper bound of the mutual information of two vectors from samples (vCLUB: Cheng et al. 2020), to be made small.
// A network theta learns y from x, q(y|x) = N(mu(x), diag exp(v(x))), v = tanh(network):
//   theta:    least  1/N sum_i sum_d (y - mu)^2 / exp(v) + v                                  (learn)
//   encoder:  least  1/N sum_i [ log q(y_i|x_i) - 1/N sum_j log q(y_j|x_i) ]                  (bound)
// The inner mean over j is exact at the cost of O(N), because it needs the first two moments of y alone; with a
// permutation it is one other row, y_pi(i) (the sampled form). It is an upper bound only as far as q fits; it falls
// below zero while theta lags, so callers clamp it. tanh keeps variances in 1/e .. e: give it standardised y. x: (N,
// Dx), y: (N, Dy), f32 or f64. Not thread-safe.
class TESSERA_API Club : public Module {
 public:
  Club(std::int64_t x_width, std::int64_t y_width, std::int64_t hidden);
  ~Club() override;

  Tensor misfit(const Tensor& x, const Tensor& y);  // theta's loss, recorded
  // `steps` AdamW updates of theta on these rows, which are taken as constants; returns the last loss.
  double learn(const Tensor& x, const Tensor& y, int steps, double learning_rate);
  // The bound in nats, recorded; theta is a constant, the gradient goes to x and y. Scalar.
  Tensor bound(const Tensor& x, const Tensor& y, std::span<const std::int32_t> permutation = {}) const;

 private:
  Mlp mean_, spread_;
  std::unique_ptr<Optimizer> optimizer_;
};

// (x - mean) / sqrt(variance + eps) a column, over the rows at hand; the gradient knows of mean and variance, so a
// loss on it cannot be made small by making x small. (N, D) -> (N, D), recorded.
TESSERA_API Tensor standardize_columns(const Tensor& x, double eps = 1e-6);

}  // namespace tessera
