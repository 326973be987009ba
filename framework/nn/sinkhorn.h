#pragma once

#include <cstdint>
#include <vector>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Codes by entropic optimal transport: every code gets about the same share of the rows, at little extra distance.
//   Q = exp(-d / (epsilon a)), a half the range of d; `rounds` times rows scaled to sum 1/N and columns to sum 1/K;
//   code = argmax a row.
// (Cuturi 2013; as LC-Rec assigns its last level.) Smaller epsilon: closer to the nearest code under the constraint;
// 0.003 is usual. distances: (N, K) f32. In f64, the same bits for any number of threads. Ties go to the smaller code.
TESSERA_API std::vector<std::int32_t> sinkhorn_codes(const Tensor& distances, double epsilon, int rounds = 50);

}  // namespace tessera
