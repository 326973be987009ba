#include <algorithm>
#include <cmath>

#include "tensor/core/dispatch.h"
#include "tensor/core/fast_math.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/softmax/softmax.h"

namespace tessera::cpu {
namespace {

// f(row pointers...) for each row, several rows a tile.
template <class F>
void for_rows(const Tensor& x, F&& f) {
  const std::int64_t columns = x.columns();
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / columns);
  parallel_rows(x.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(row * columns, columns);
  });
}

template <class T>
T largest(const T* x, std::int64_t n) {
  T top = x[0];
#pragma omp simd reduction(max : top)
  for (std::int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

}  // namespace

void softmax_forward(const Tensor& x, Tensor& y) {
  dispatch_float("softmax", x.dtype(), [&](auto type) {
    using T = decltype(type);
    for_rows(x, [&](std::int64_t at, std::int64_t n) {
      const T* a = x.data<T>() + at;
      T* b = y.data<T>() + at;
      const T top = largest(a, n);
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < n; ++i) sum += b[i] = detail::fast_exp(a[i] - top);
      for (std::int64_t i = 0; i < n; ++i) b[i] /= sum;
    });
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_float("softmax", y.dtype(), [&](auto type) {
    using T = decltype(type);
    for_rows(y, [&](std::int64_t at, std::int64_t n) {
      const T *p = y.data<T>() + at, *g = dy.data<T>() + at;
      T* d = dx.data<T>() + at;
      T dot = 0;
#pragma omp simd reduction(+ : dot)
      for (std::int64_t i = 0; i < n; ++i) dot += p[i] * g[i];
      for (std::int64_t i = 0; i < n; ++i) d[i] = p[i] * (g[i] - dot);
    });
  });
}

void log_softmax_forward(const Tensor& x, Tensor& y) {
  dispatch_float("log_softmax", x.dtype(), [&](auto type) {
    using T = decltype(type);
    for_rows(x, [&](std::int64_t at, std::int64_t n) {
      const T* a = x.data<T>() + at;
      T* b = y.data<T>() + at;
      const T top = largest(a, n);
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < n; ++i) sum += detail::fast_exp(a[i] - top);
      const T log_sum = top + std::log(sum);
      for (std::int64_t i = 0; i < n; ++i) b[i] = a[i] - log_sum;
    });
  });
}

void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_float("log_softmax", y.dtype(), [&](auto type) {
    using T = decltype(type);
    for_rows(y, [&](std::int64_t at, std::int64_t n) {
      const T *p = y.data<T>() + at, *g = dy.data<T>() + at;
      T* d = dx.data<T>() + at;
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t i = 0; i < n; ++i) sum += g[i];
      for (std::int64_t i = 0; i < n; ++i) d[i] = g[i] - detail::fast_exp(p[i]) * sum;
    });
  });
}

void log_sum_exp_forward(const Tensor& x, Tensor& y) {
  dispatch_float("log_sum_exp", x.dtype(), [&](auto type) {
    using T = decltype(type);
    for_rows(x, [&](std::int64_t at, std::int64_t n) {
      const T* a = x.data<T>() + at;
      const T top = *std::max_element(a, a + n);
      // Sixteen sums side by side, so that the loop runs in vectors.
      T sums[16] = {};
      std::int64_t i = 0;
      for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; ++j) sums[j] += detail::fast_exp(a[i + j] - top);
      for (; i < n; ++i) sums[0] += detail::fast_exp(a[i] - top);
      T sum = 0;
      for (const T part : sums) sum += part;
      y.data<T>()[at / n] = top + std::log(sum);
    });
  });
}

void log_sum_exp_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_float("log_sum_exp", x.dtype(), [&](auto type) {
    using T = decltype(type);
    for_rows(x, [&](std::int64_t at, std::int64_t n) {
      const T* a = x.data<T>() + at;
      T* d = dx.data<T>() + at;
      const T log_sum = y.data<T>()[at / n], g = dy.data<T>()[at / n];
      for (std::int64_t i = 0; i < n; ++i) d[i] = g * std::exp(a[i] - log_sum);
    });
  });
}

}  // namespace tessera::cpu
