#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// Joining and cutting; recorded but for the last. Ranks 1 or 2; a tensor of rank 1 is one row to the column ops, one
// column to the row ops.
TESSERA_API Tensor concat_columns(const std::vector<Tensor>& parts);  // (N, D1), (N, D2) -> (N, D1 + D2)
TESSERA_API Tensor concat_rows(const std::vector<Tensor>& parts);     // (N1, D), (N2, D) -> (N1 + N2, D)
TESSERA_API Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end);
TESSERA_API Tensor slice_rows(const Tensor& x, std::int64_t begin, std::int64_t end);  // shares x's numbers: no copy

// One pass for concat_columns({gather_rows(before, rows), slice_columns(x, begin, end)}): row i of before chosen by
// rows[i], then columns begin .. end - 1 of x. before (M, W), rows (N) in 0 .. M - 1, x (N, D) -> (N, W + end - begin).
// For caches: not recorded.
TESSERA_API Tensor grow_columns(const Tensor& before, std::span<const std::int32_t> rows, const Tensor& x,
                                std::int64_t begin, std::int64_t end);

// move_columns: columns from .. from + width of x are written into (or added onto) columns to .. to + width of y; as
// many rows.
namespace cpu {
void grow_columns(const Tensor& before, std::span<const std::int32_t> rows, const Tensor& x, std::int64_t from,
                  Tensor& y);
void move_columns(const Tensor& x, std::int64_t from, std::int64_t width, bool add, Tensor& y, std::int64_t to);
}  // namespace cpu
namespace cuda {
void move_columns(const Tensor& x, std::int64_t from, std::int64_t width, bool add, Tensor& y, std::int64_t to);
}

}  // namespace tessera
