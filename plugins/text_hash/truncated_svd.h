#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera::text_hash {

// Sparse rows: row r holds value[i] in column[i] for offset[r] <= i < offset[r + 1].
struct SparseRows {
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> column;
  std::vector<float> value;
  std::int64_t columns = 0;
  std::int64_t rows() const { return static_cast<std::int64_t>(offset.size()) - 1; }
};

Tensor times(const SparseRows& a, const Tensor& x);  // (rows, columns) (columns, D) -> (rows, D)

// The right singular vectors of the `width` largest singular values: (columns, width), zero columns beyond the rank.
// Randomised subspace iteration (Halko, Martinsson, Tropp: Finding structure with randomness, SIAM Review 2011,
// algorithm 4.4). The same bits for any number of threads.
Tensor right_singular_vectors(const SparseRows& a, std::int64_t width, int iterations, std::uint64_t seed,
                              const std::function<void(double done)>& progress);

}  // namespace tessera::text_hash
