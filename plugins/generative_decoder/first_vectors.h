#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// init = "vectors": what the rows of a table of codes or prefixes begin with, made of the tokenizer's item vectors.
//
// The items' vectors (I, D), less their mean, scaled so that the entries have the given deviation. f32.
Tensor spread_vectors(const Tensor& vectors, double deviation);
// Row r of `rows`: the mean of x (I, D) over the items with group[i] == r; zero where there is none.
Tensor group_means(const Tensor& x, std::span<const std::int32_t> group, std::int64_t rows);

}  // namespace tessera
