#pragma once

#include <cstdint>

namespace tessera::detail {

// sum of f(0) .. f(n - 1) in f64, in lanes of its own so that it vectorises; the order depends on n alone.
template <class F>
double lane_sum(std::int64_t n, F&& f) {
  constexpr int kLanes = 16;
  double lane[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lane[j] += static_cast<double>(f(i + j));
  double rest = 0;
  for (; i < n; ++i) rest += static_cast<double>(f(i));
  for (int width = kLanes / 2; width >= 1; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
  return lane[0] + rest;
}

}  // namespace tessera::detail
