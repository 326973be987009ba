#include "tensor/core/dispatch.h"
#include "tensor/cuda/reduce.cuh"
#include "tensor/ops/reduce/reduce.h"

namespace tessera::cuda {
namespace {

template <class T>
void sum_elements(Device device, std::int64_t n, const T* x, double factor, T* y) {
  sum_of(
      device, n, [=] __device__(std::int64_t i) { return static_cast<double>(x[i]); }, factor, y);
}

template <class T>
void sum_each_column(Device device, std::int64_t rows, std::int64_t n, const T* x, T* y) {
  column_sums(
      device, rows, n, [=] __device__(std::int64_t row, std::int64_t i) { return static_cast<double>(x[row * n + i]); },
      y);
}

// Each row's sum of a b, or of a alone where b is null.
template <class T>
void sum_each_row(Device device, std::int64_t rows, std::int64_t n, const T* a, const T* b, T* y) {
  for_rows(device, rows, [=] __device__(std::int64_t row, int lane) {
    double sum = 0;
    for (std::int64_t i = lane; i < n; i += kWarp)
      sum += static_cast<double>(b ? a[row * n + i] * b[row * n + i] : a[row * n + i]);
    sum = warp_sum(sum);
    if (lane == 0) y[row] = static_cast<T>(sum);
  });
}

// y_i = factor v_j, with j = i / divide % modulus
template <class T>
void spread(Device device, std::int64_t n, const T* v, std::int64_t divide, std::int64_t modulus, T factor, T* y) {
  for_each(device, n, [=] __device__(std::int64_t i) { y[i] = factor * v[i / divide % modulus]; });
}

template <class T>
void sum_segments(Device device, std::int64_t segments, std::int64_t n, const std::int64_t* offset, bool mean,
                  const T* x, T* y) {
  for_each(device, segments * n, [=] __device__(std::int64_t at) {
    const std::int64_t begin = offset[at / n], end = offset[at / n + 1], column = at % n;
    T sum = 0;
    for (std::int64_t row = begin; row < end; ++row) sum += x[row * n + column];
    y[at] = mean && end - begin > 1 ? sum / static_cast<T>(end - begin) : sum;
  });
}

template <class T>
void spread_segments(Device device, std::int64_t segments, std::int64_t n, const std::int64_t* offset, bool mean,
                     const T* dy, T* dx) {
  for_each(device, segments * n, [=] __device__(std::int64_t at) {
    const std::int64_t begin = offset[at / n], end = offset[at / n + 1], column = at % n;
    const T value = mean && end - begin > 1 ? dy[at] / static_cast<T>(end - begin) : dy[at];
    for (std::int64_t row = begin; row < end; ++row) dx[row * n + column] = value;
  });
}

}  // namespace

void sum_all(const Tensor& x, double factor, Tensor& y) {
  dispatch_float("sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    sum_elements<T>(x.device(), x.numel(), x.data<T>(), factor, y.data<T>());
  });
}

void sum_columns(const Tensor& x, Tensor& y) {
  dispatch_float("sum_columns", x.dtype(), [&](auto type) {
    using T = decltype(type);
    sum_each_column<T>(x.device(), x.rows(), x.columns(), x.data<T>(), y.data<T>());
  });
}

void row_sum(const Tensor& x, Tensor& y) {
  dispatch_float("row_sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    sum_each_row<T>(x.device(), x.rows(), x.columns(), x.data<T>(), nullptr, y.data<T>());
  });
}

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_float("row_dot", a.dtype(), [&](auto type) {
    using T = decltype(type);
    sum_each_row<T>(a.device(), a.rows(), a.columns(), a.data<T>(), b.data<T>(), y.data<T>());
  });
}

void repeat_scalar(const Tensor& v, double factor, Tensor& y) {
  dispatch_float("sum", y.dtype(), [&](auto type) {
    using T = decltype(type);
    spread<T>(y.device(), y.numel(), v.data<T>(), 1, 1, static_cast<T>(factor), y.data<T>());
  });
}

void repeat_row(const Tensor& v, Tensor& y) {
  dispatch_float("sum_columns", y.dtype(), [&](auto type) {
    using T = decltype(type);
    spread<T>(y.device(), y.numel(), v.data<T>(), 1, y.columns(), T(1), y.data<T>());
  });
}

void repeat_column(const Tensor& v, Tensor& y) {
  dispatch_float("row_sum", y.dtype(), [&](auto type) {
    using T = decltype(type);
    spread<T>(y.device(), y.numel(), v.data<T>(), y.columns(), y.rows(), T(1), y.data<T>());
  });
}

void segment_sum(const Tensor& x, std::span<const std::int64_t> offset, bool mean, Tensor& y) {
  const Tensor list = upload(offset, x.device());
  dispatch_float("segment_sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    sum_segments<T>(x.device(), y.rows(), x.columns(), list.data<std::int64_t>(), mean, x.data<T>(), y.data<T>());
  });
}

void segment_spread(const Tensor& dy, std::span<const std::int64_t> offset, bool mean, Tensor& dx) {
  const Tensor list = upload(offset, dy.device());
  dispatch_float("segment_sum", dy.dtype(), [&](auto type) {
    using T = decltype(type);
    spread_segments<T>(dy.device(), dy.rows(), dx.columns(), list.data<std::int64_t>(), mean, dy.data<T>(),
                       dx.data<T>());
  });
}

}  // namespace tessera::cuda
