#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Gives items that share an identifier other codes on the last level. Within each prefix of L - 1 codes, the colliding
// items and the codes that no other item of the prefix holds (their own included) are matched one to one at the least
// total distance: the transport problem with unit masses, solved exactly. Where items outnumber codes, those that are
// left keep theirs. Items without a code on the last level (-1) are left alone. codes: (I, L), changed in place;
// distances: (I, K). Returns the number of items whose code changed. Depends on its arguments alone. Throws Error where
// distances do not fit.
TESSERA_API std::int64_t repair_collisions(std::vector<std::int32_t>& codes, int levels, const Tensor& distances);

// The assignment of least total cost. cost: (R, C) row-major, R <= C. Returns the column of each row. O(R R C).
TESSERA_API std::vector<std::int32_t> assign(std::span<const double> cost, std::int64_t rows, std::int64_t columns);

}  // namespace tessera
