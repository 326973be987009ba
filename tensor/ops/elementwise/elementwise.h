#pragma once

#include "tensor/core/tensor.h"
#include "tensor/ops/linear/linear.h"

namespace tessera {

// Binary: a and b of the same shape, or b of shape (D) and a (..., D): b is repeated for each row, its gradient is summed.
TESSERA_API Tensor add(const Tensor& a, const Tensor& b);
TESSERA_API Tensor subtract(const Tensor& a, const Tensor& b);
TESSERA_API Tensor multiply(const Tensor& a, const Tensor& b);
TESSERA_API Tensor scale(const Tensor& x, double factor);      // factor x
TESSERA_API Tensor scale_rows(const Tensor& x, const Tensor& s);  // x (N, D), s (N): row i times s_i; gradients to both

TESSERA_API Tensor activate(const Tensor& x, Activation activation);
TESSERA_API Tensor softplus(const Tensor& x);  // log(1 + exp x), stable; gradient sigmoid(x)
TESSERA_API Tensor exp(const Tensor& x);
TESSERA_API Tensor log(const Tensor& x);       // natural; the caller keeps x > 0
TESSERA_API Tensor square(const Tensor& x);

}  // namespace tessera
