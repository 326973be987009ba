#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// Mean over rows with target >= 0 of -log softmax(logits)_target; rows with target -1 do not count.
// logits: (N, K), target: N values in -1 .. K-1. smoothing s: the target distribution is (1-s) onehot + s/K.
// Returns a scalar; 0 where no row counts. Gradient: (softmax - distribution) / rows that count.
TESSERA_API Tensor cross_entropy(const Tensor& logits, std::span<const std::int32_t> target, double smoothing = 0.0);

// The same for logits = h w^T + b, made and consumed in chunks: the logits of all rows never exist at once. While recording,
// dh and dw are computed in the forward pass, chunk by chunk, and scaled by dy in the backward pass.
// h: (N, D), w: (K, D) one row a class, b: (K) or empty. Composed reference: cross_entropy(matmul(h, w^T) + b).
TESSERA_API Tensor linear_cross_entropy(const Tensor& h, const Tensor& w, const Tensor& b, std::span<const std::int32_t> target,
                                        double smoothing = 0.0);

}  // namespace tessera
