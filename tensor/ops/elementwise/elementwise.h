#pragma once

#include "tensor/core/tensor.h"
#include "tensor/ops/linear/linear.h"

namespace tessera {

// Binary: a and b of the same shape, or b of shape (D) and a (..., D): b is repeated for each row, its gradient is
// summed.
TESSERA_API Tensor add(const Tensor& a, const Tensor& b);
TESSERA_API Tensor subtract(const Tensor& a, const Tensor& b);
TESSERA_API Tensor multiply(const Tensor& a, const Tensor& b);
TESSERA_API Tensor scale(const Tensor& x, double factor);         // factor x
TESSERA_API Tensor scale_rows(const Tensor& x, const Tensor& s);  // x (N, D), s (N): row i times s_i; gradients to both

TESSERA_API Tensor activate(const Tensor& x, Activation activation);
TESSERA_API Tensor softplus(const Tensor& x);  // log(1 + exp x), stable; gradient sigmoid(x)
TESSERA_API Tensor exp(const Tensor& x);
TESSERA_API Tensor log(const Tensor& x);  // natural; the caller keeps x > 0
TESSERA_API Tensor square(const Tensor& x);

// For kernels. The first values are those of Activation; formulas and slopes stand in functions.h.
enum class Unary { none, relu, gelu, silu, sigmoid, tanh, leaky_relu, softplus, exp, log, square };
enum class Binary { add, subtract, multiply };

namespace cpu {
void unary_forward(Unary f, const Tensor& x, Tensor& y);
void unary_backward(Unary f, const Tensor& x, const Tensor& dy, Tensor& dx);  // dx = f'(x) dy
void binary_forward(Binary f, const Tensor& a, const Tensor& b, Tensor& y);   // b of y's size, or of its last dimension
void scale(const Tensor& x, double factor, Tensor& y);
void scale_rows(const Tensor& x, const Tensor& s, Tensor& y);
}  // namespace cpu
namespace cuda {
void unary_forward(Unary f, const Tensor& x, Tensor& y);
void unary_backward(Unary f, const Tensor& x, const Tensor& dy, Tensor& dx);
void binary_forward(Binary f, const Tensor& a, const Tensor& b, Tensor& y);
void scale(const Tensor& x, double factor, Tensor& y);
void scale_rows(const Tensor& x, const Tensor& s, Tensor& y);
}  // namespace cuda

}  // namespace tessera
