#pragma once

#include <cstdint>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// Joining and cutting; all recorded. Ranks 1 or 2; a tensor of rank 1 is one row to the column ops, one column to the
// row ops.
TESSERA_API Tensor concat_columns(const std::vector<Tensor>& parts);  // (N, D1), (N, D2) -> (N, D1 + D2)
TESSERA_API Tensor concat_rows(const std::vector<Tensor>& parts);     // (N1, D), (N2, D) -> (N1 + N2, D)
TESSERA_API Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end);
TESSERA_API Tensor slice_rows(const Tensor& x, std::int64_t begin, std::int64_t end);  // shares x's numbers: no copy

// Kernel: columns from .. from + width of x are written into (or added onto) columns to .. to + width of y; as many
// rows.
namespace cpu {
void move_columns(const Tensor& x, std::int64_t from, std::int64_t width, bool add, Tensor& y, std::int64_t to);
}
namespace cuda {
void move_columns(const Tensor& x, std::int64_t from, std::int64_t width, bool add, Tensor& y, std::int64_t to);
}

}  // namespace tessera
