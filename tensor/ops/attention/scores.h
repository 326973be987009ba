#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "tensor/core/simd.h"

namespace tessera::cpu {

template <class T>
inline simd::Vec<T> lane_numbers() {
  simd::Vec<T> lanes;
  for (int i = 0; i < simd::kLanes<T>; ++i) lanes[i] = static_cast<T>(i);
  return lanes;
}

// A row of scores (n vectors, of which `visible` numbers count) becomes exp(score - top), the rest 0; top and sum go on
// from the keys before. Returns the factor for what was summed before.
template <class T>
T softmax_row(T* scores, std::int64_t n, std::int64_t visible, const T* bias, T& top, T& sum) {
  using simd::Vec;
  constexpr int kLanes = simd::kLanes<T>;
  const Vec<T> lowest = simd::broadcast(std::numeric_limits<T>::lowest());
  Vec<T> highest = lowest;
  for (std::int64_t j = 0; j < n; ++j) {
    Vec<T> s = simd::load(scores + j * kLanes);
    if (bias) s += simd::load(bias + j * kLanes);
    if (visible < (j + 1) * kLanes) s = lane_numbers<T>() < static_cast<T>(visible - j * kLanes) ? s : lowest;
    highest = simd::max<T>(highest, s);
    simd::store(scores + j * kLanes, s);
  }
  if (visible <= 0) {
    for (std::int64_t j = 0; j < n; ++j) simd::store(scores + j * kLanes, Vec<T>{});
    return T{1};
  }
  const T new_top = std::max(top, simd::top<T>(highest));
  Vec<T> total{};
  for (std::int64_t j = 0; j < n; ++j) {
    const Vec<T> p = simd::exp(simd::load(scores + j * kLanes) - new_top);
    total += p;
    simd::store(scores + j * kLanes, p);
  }
  const T factor = sum > T{0} && top < new_top ? std::exp(top - new_top) : T{1};
  top = new_top;
  sum = sum * factor + simd::sum<T>(total);
  return factor;
}

}  // namespace tessera::cpu
