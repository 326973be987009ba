#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/core/fast_math.h"

namespace tessera::detail {

template <class T>
T row_max(const T* x, std::int64_t n) {
  T top = x[0];
#pragma omp simd reduction(max : top)
  for (std::int64_t j = 0; j < n; ++j) top = x[j] > top ? x[j] : top;
  return top;
}

// sum_j e_j with e_j = exp(x_j - top); e may be x.
template <class T>
T exp_row(const T* x, std::int64_t n, T top, T* e) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) {
    const T value = fast_exp(x[j] - top);
    e[j] = value;
    sum += value;
  }
  return sum;
}

template <class T>
double log_sum_exp(const T* x, std::int64_t n) {
  const T top = row_max(x, n);
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += fast_exp(x[j] - top);
  return static_cast<double>(top) + std::log(static_cast<double>(sum));
}

template <class T>
double row_mean(const T* x, std::int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t j = 0; j < n; ++j) sum += x[j];
  return static_cast<double>(sum) / static_cast<double>(n);
}

}  // namespace tessera::detail
