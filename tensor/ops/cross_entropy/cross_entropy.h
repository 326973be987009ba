#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// Mean over rows with target >= 0 of -log softmax(logits)_target; rows with target -1 do not count.
// logits: (N, K), target: N values in -1 .. K-1. smoothing s: the target distribution is (1-s) onehot + s/K.
// Returns a scalar; 0 where no row counts. Gradient: (softmax - distribution) / rows that count.
TESSERA_API Tensor cross_entropy(const Tensor& logits, std::span<const std::int32_t> target, double smoothing = 0.0);

// Classes whose logits get one learnt number more: those of row i are column[offset[i]] .. column[offset[i + 1] - 1],
// rising, each once. (Items that the user of a row already has.)
struct MarkedClasses {
  std::vector<std::int64_t> offset;  // (N + 1)
  std::vector<std::int32_t> column;
  Tensor value;  // (1)
};

// The same for logits = h w^T + b (+ marked.value in marked classes), made and consumed in chunks: the logits of all
// rows never exist at once. While recording, dh, dw, db and the gradient of the value are computed in the forward pass,
// chunk by chunk, and scaled by dy in the backward pass. h: (N, D), w: (K, D) one row a class, b: (K) or empty.
// Composed reference: cross_entropy(h w^T + b + marks).
TESSERA_API Tensor linear_cross_entropy(const Tensor& h, const Tensor& w, const Tensor& b,
                                        std::span<const std::int32_t> target, double smoothing = 0.0,
                                        const MarkedClasses& marked = {});

// What the kernels know of the rows; targets are checked.
struct CrossEntropyTargets {
  std::span<const std::int32_t> target;
  std::int64_t count = 0;  // rows with a target
  double smoothing = 0.0;
  const MarkedClasses* marked = nullptr;  // or none
};
// Gradients that linear_cross_entropy is to overwrite; empty ones are not wanted.
struct LinearCrossEntropyGradients {
  Tensor dh, dw, db, dmarked;
};
namespace cpu {
// log_sum (N): log sum exp of each row, for the backward pass.
double cross_entropy_forward(const Tensor& logits, const CrossEntropyTargets& targets, Tensor& log_sum);
void cross_entropy_backward(const Tensor& logits, const CrossEntropyTargets& targets, const Tensor& log_sum,
                            double factor, Tensor& dx);
double linear_cross_entropy(const Tensor& h, const Tensor& w, const Tensor& b, const CrossEntropyTargets& targets,
                            LinearCrossEntropyGradients& to);
}  // namespace cpu

}  // namespace tessera
