#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// Means over all elements; scalars.
TESSERA_API Tensor mse(const Tensor& x, const Tensor& y);  // mean (x - y)^2; gradients to both
// Binary cross-entropy: softplus(x) - label x. logit: (N), label: N values in 0 .. 1.
TESSERA_API Tensor bce_with_logits(const Tensor& logit, std::span<const float> label);
// Bayesian personalised ranking (Rendle et al. 2009): softplus(negative - positive). (N), (N).
TESSERA_API Tensor bpr(const Tensor& positive, const Tensor& negative);

namespace cpu {
void squared_difference(const Tensor& x, const Tensor& y, double factor, Tensor& out);  // out = factor sum (x - y)^2
void scaled_difference(const Tensor& x, const Tensor& y, double factor, const Tensor& by,
                       Tensor& out);  // factor by (x - y)
}  // namespace cpu
namespace cuda {
void squared_difference(const Tensor& x, const Tensor& y, double factor, Tensor& out);
void scaled_difference(const Tensor& x, const Tensor& y, double factor, const Tensor& by, Tensor& out);
}  // namespace cuda

}  // namespace tessera
