#pragma once

#include <vector>

#include "framework/data/histories.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Terms that several models of the graph add to a loss. Scalars, recorded.

// 1/2 (sum of the squares of all parts) / rows.
TESSERA_API Tensor half_squares(const std::vector<Tensor>& parts, std::int64_t rows);
// (sum of the parts' Frobenius norms) / rows: norms, not their squares (MMRec's EmbLoss). A part of zeros has gradient
// zero.
TESSERA_API Tensor norms(const std::vector<Tensor>& parts, std::int64_t rows);
// mean softplus(user . negative - user . positive): row b of users and positive (B, D) with rows b n .. b n + n - 1 of
// negative (B n, D).
TESSERA_API Tensor rows_bpr(const Tensor& users, const Tensor& positive, const Tensor& negative);
// mean softplus(user . negative - user . positive) over the batch's targets and each of their negatives. users (U, D),
// items (I, D).
TESSERA_API Tensor batch_bpr(const Tensor& users, const Tensor& items, const TrainBatch& batch);

}  // namespace tessera
