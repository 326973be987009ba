#pragma once

#include "tensor/core/tensor.h"

namespace tessera {

// In training mode (a TrainingScope lives on this thread): y_i = x_i / (1 - p) where u_i >= p, else 0; u_i comes from the counter
// (seed, step, call, i), so nothing is kept for the backward pass but the key. Otherwise y = x, the same handle. 0 <= p < 1.
TESSERA_API Tensor dropout(const Tensor& x, double p);

// y = x + dropout(r, p), fused: the residual branch of a Transformer block. x, r: the same shape.
TESSERA_API Tensor add_dropout(const Tensor& x, const Tensor& r, double p);

}  // namespace tessera
