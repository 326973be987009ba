#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// For scores of candidates, whose bits must not depend on what stands beside them: matrix products may sum a row in an
// order that depends on the number of rows (oneDNN for a single row, Eigen for any number, amx leaves few rows to
// another). f(rows) computes result rows for the numbers it is given; it is called for whole groups of 0 .. count - 1,
// filled up with repetitions, for no rows where count is 0. Returns the results in order, (count, ...). Not recorded.
TESSERA_API Tensor independent_rows(std::int64_t count, const std::function<Tensor(std::span<const std::int32_t>)>& f);

}  // namespace tessera
