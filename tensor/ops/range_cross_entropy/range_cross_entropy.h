#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// Which rows of w a query chooses from: begin .. end - 1, and the right one. Rows of w that children of one tree node
// have stand together, so the ranges of two queries are equal or disjoint; anything else throws Error.
struct RangeChoice {
  std::int32_t begin = 0, end = 0, target = 0;
};

// Mean over queries of -log softmax_r(q_i . w_r)_target, r over the query's own range: the next step down a tree,
// chosen among the children of a node alone. q: (N, D), w: (M, D). Returns a scalar, 0 for no queries. Gradient, p the
// softmax: dq_i = sum_r (p_r - [r = target]) w_r / N, dw_r = sum_i (p_r - [r = target]) q_i / N. Composed reference:
// cross_entropy(matmul(q, w^T) with -1e30 outside of the range).
TESSERA_API Tensor range_cross_entropy(const Tensor& q, const Tensor& w, std::span<const RangeChoice> choices);

namespace cpu {
// first (N + 1): where the query's probabilities stand in p.
double range_cross_entropy_forward(const Tensor& q, const Tensor& w, std::span<const RangeChoice> choices,
                                   std::span<const std::int64_t> first, Tensor& p);
// order: queries sorted by their range. dq and dw may be empty; dw = beta dw + ...
void range_cross_entropy_backward(const Tensor& q, const Tensor& w, std::span<const RangeChoice> choices,
                                  std::span<const std::int64_t> first, const Tensor& p,
                                  std::span<const std::int32_t> order, double factor, Tensor& dq, Tensor& dw,
                                  double beta);
}  // namespace cpu

}  // namespace tessera
