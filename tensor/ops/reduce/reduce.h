#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// Sums of tiles of fixed size, combined in tile order; f32 tiles add up in f64.
TESSERA_API Tensor sum(const Tensor& x);                       // scalar
TESSERA_API Tensor mean(const Tensor& x);                      // scalar; throws Error for no elements
TESSERA_API Tensor sum_columns(const Tensor& x);               // (..., D) -> (D): sum over rows
TESSERA_API Tensor row_sum(const Tensor& x);                   // (N, D) -> (N)
TESSERA_API Tensor row_dot(const Tensor& a, const Tensor& b);  // (N, D), (N, D) -> (N): sum_d a_d b_d
// Jagged pooling: (N, D), offset (B + 1) -> (B, D); empty rows give zeros.
TESSERA_API Tensor segment_mean(const Tensor& x, std::span<const std::int64_t> offset);
TESSERA_API Tensor segment_sum(const Tensor& x, std::span<const std::int64_t> offset);

// Kernels. repeat_* are the gradients: y_ij = factor v for v (1), v_j for v (D), v_i for v (N).
namespace cpu {
void sum_all(const Tensor& x, double factor, Tensor& y);
void sum_columns(const Tensor& x, Tensor& y);
void row_sum(const Tensor& x, Tensor& y);
void row_dot(const Tensor& a, const Tensor& b, Tensor& y);
void repeat_scalar(const Tensor& v, double factor, Tensor& y);
void repeat_row(const Tensor& v, Tensor& y);
void repeat_column(const Tensor& v, Tensor& y);
void segment_sum(const Tensor& x, std::span<const std::int64_t> offset, bool mean, Tensor& y);
void segment_spread(const Tensor& dy, std::span<const std::int64_t> offset, bool mean, Tensor& dx);
}  // namespace cpu
namespace cuda {
void sum_all(const Tensor& x, double factor, Tensor& y);
void sum_columns(const Tensor& x, Tensor& y);
void row_sum(const Tensor& x, Tensor& y);
void row_dot(const Tensor& a, const Tensor& b, Tensor& y);
void repeat_scalar(const Tensor& v, double factor, Tensor& y);
void repeat_row(const Tensor& v, Tensor& y);
void repeat_column(const Tensor& v, Tensor& y);
void segment_sum(const Tensor& x, std::span<const std::int64_t> offset, bool mean, Tensor& y);
void segment_spread(const Tensor& dy, std::span<const std::int64_t> offset, bool mean, Tensor& dx);
}  // namespace cuda

}  // namespace tessera
