#pragma once

#include <cstdint>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// The nearest row of a codebook by squared Euclidean distance: argmin_k |c_k|^2 - 2 x . c_k, distances as a matrix
// product in tiles, so the (N, K) matrix never exists. Ties go to the smaller code. x: (N, D), codebook: (K, D). Not
// recorded.
TESSERA_API std::vector<std::int32_t> nearest_code(const Tensor& x, const Tensor& codebook);

// All squared distances (N, K), for Sinkhorn and k-means++. Not recorded.
TESSERA_API Tensor squared_distances(const Tensor& x, const Tensor& codebook);

}  // namespace tessera
