#pragma once

#include <cstdint>

#include "tensor/core/tensor.h"

namespace tessera {

// In training mode (a TrainingScope lives on this thread): y_i = x_i / (1 - p) where u_i >= p, else 0; u_i comes from
// the counter (seed, step, call, i), so nothing is kept for the backward pass but the key. Otherwise y = x, the same
// handle. 0 <= p < 1. u has 16 bits, so p is rounded to the next multiple of 2^-16 (and the factor with it). Gradient:
// the same mask on dy.
TESSERA_API Tensor dropout(const Tensor& x, double p);

// y = x + dropout(r, p), fused: the residual branch of a Transformer block. x, r: the same shape. dx = dy, dr =
// dropout(dy).
TESSERA_API Tensor add_dropout(const Tensor& x, const Tensor& r, double p);

// Element i of a call takes 16 bits of philox(seed, stream, block) and stays where they are at least threshold:
// block = i / 128 * 16 + i % 32 / 2, word i / 32 % 4, low half for even i.
struct DropoutKey {
  std::uint64_t seed = 0, stream = 0;
  std::uint32_t threshold = 0;  // 0: everything stays
};

// The key of this call, for ops that drop elements of their own result; without effect in inference mode.
DropoutKey take_dropout_key(const char* op, double p);

namespace cpu {
// Elements begin .. end - 1 of y = mask x / keep, for ops that hold a part of x in the cache; y may be x. begin: a
// multiple of kDropoutChunk.
constexpr std::int64_t kDropoutChunk = 128;
void dropout_range(const DropoutKey& key, std::int64_t begin, std::int64_t end, const float* x, float* y);
void dropout_range(const DropoutKey& key, std::int64_t begin, std::int64_t end, const double* x, double* y);
void dropout(const Tensor& x, const Tensor* residual, const DropoutKey& key,
             Tensor& y);  // y = residual + mask x / keep
}  // namespace cpu
namespace cuda {
void dropout(const Tensor& x, const Tensor* residual, const DropoutKey& key, Tensor& y);
}

}  // namespace tessera
