#pragma once

#include "tensor/core/tensor.h"

namespace tessera {

// y_c = exp(x_c - max x) / sum_d exp(x_d - max x), over the last dimension.
// x: (..., K) f32 or f64; K >= 1. Returns (..., K).
// Gradient: dx_c = y_c (dy_c - sum_d y_d dy_d).
TESSERA_API Tensor softmax(const Tensor& x);

// y_c = x_c - log sum_d exp(x_d), over the last dimension. Gradient: dx_c = dy_c - exp(y_c) sum_d dy_d.
TESSERA_API Tensor log_softmax(const Tensor& x);

// y = log sum_d exp(x_d) of each row: (..., K) -> (rows). Gradient: dx_c = dy exp(x_c - y).
TESSERA_API Tensor log_sum_exp(const Tensor& x);

namespace cpu {
void softmax_forward(const Tensor& x, Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx);
void log_softmax_forward(const Tensor& x, Tensor& y);
void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx);
void log_sum_exp_forward(const Tensor& x, Tensor& y);
void log_sum_exp_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx);
}  // namespace cpu
namespace cuda {
void softmax_forward(const Tensor& x, Tensor& y);
void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx);
void log_softmax_forward(const Tensor& x, Tensor& y);
void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx);
}  // namespace cuda

}  // namespace tessera
