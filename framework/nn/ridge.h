#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Linear probes: how much of y a ridge regression finds in x. Learnt on four fifths of the rows, measured on the rest;
// the cut is a function of the number of rows alone. x: (N, Dx) f32. Deterministic.

// Share of the variance of y (N, Dy) that is explained, all columns together: 1 - sum (y - y^)^2 / sum (y - mean)^2.
// About 0, or a little below, where x knows nothing of y; 0 where there are fewer than ten rows or y does not vary.
TESSERA_API double probe_r2(const Tensor& x, const Tensor& y);

// Share of rows whose label (0 .. classes - 1) has the largest output of a regression onto the labels as one-hot rows.
TESSERA_API double probe_accuracy(const Tensor& x, std::span<const std::int32_t> label, int classes);

// The share of the most frequent label among the rows that a probe is measured on: what knowing nothing gets.
TESSERA_API double probe_chance(std::span<const std::int32_t> label, int classes);

// Codes (N, L) as columns of ones and zeros, sizes[l] columns a level; an absent code (-1) has none. (N, sum of sizes)
TESSERA_API Tensor one_hot(std::span<const std::int32_t> codes, std::span<const int> sizes);

}  // namespace tessera
