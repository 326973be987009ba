#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// y_i = table[id_i]; an id of -1 gives zeros. table: (K, D). Returns (N, D). Throws Error, with the place, on an id out
// of range. Gradient: rows of dy are added onto the table's gradient, in the order of i for each row (the same bits for
// any thread count).
TESSERA_API Tensor embedding(const Tensor& table, std::span<const std::int32_t> ids);

// y_i = scale * sum_l table[id_(i,l)], ids (N, L) row-major, -1 skipped: an item as the sum of its tokens. Returns (N,
// D).
TESSERA_API Tensor embedding_sum(const Tensor& table, std::span<const std::int32_t> ids, int levels,
                                 double scale = 1.0);

// y_i = x[row_i], any row length; the gradient scatters and adds. x: (M, D). Same as embedding, named for activations.
TESSERA_API Tensor gather_rows(const Tensor& x, std::span<const std::int32_t> rows);

namespace cpu {
// y_i = scale * sum_l x[id_(i,l)] and its transpose: gradient = beta gradient + that of x; beta 0 or 1.
void embedding_forward(const Tensor& x, std::span<const std::int32_t> ids, int levels, double scale, Tensor& y);
void embedding_backward(const Tensor& dy, std::span<const std::int32_t> ids, int levels, double scale, double beta,
                        Tensor& gradient);
}  // namespace cpu
namespace cuda {
void embedding_forward(const Tensor& x, std::span<const std::int32_t> ids, int levels, double scale, Tensor& y);
void embedding_backward(const Tensor& dy, std::span<const std::int32_t> ids, int levels, double scale, double beta,
                        Tensor& gradient);
}  // namespace cuda

}  // namespace tessera
