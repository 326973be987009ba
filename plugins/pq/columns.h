#pragma once

#include <string>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// What a person should know of the columns of x (N, D) before it is quantised, one sentence each: columns that are
// constant, and columns that equal an earlier one.
std::vector<std::string> remarks_on_columns(const Tensor& x);

// The first of M parts of x in which no row differs from another, or -1.
int constant_part(const Tensor& x, int subspaces);

}  // namespace tessera
