#include "tensor/core/dispatch.h"
#include "tensor/cuda/launch.cuh"
#include "tensor/ops/softmax/softmax.h"

namespace tessera::cuda {
namespace {

// The largest of a row and the sum of exp(x - largest), the same in every lane.
template <class T>
struct Normaliser {
  T top, sum;
};
template <class T>
__device__ Normaliser<T> normaliser_of(const T* x, std::int64_t n, int lane) {
  T top = x[0];
  for (std::int64_t i = lane; i < n; i += kWarp) top = x[i] > top ? x[i] : top;
  top = warp_max(top);
  T sum = 0;
  for (std::int64_t i = lane; i < n; i += kWarp) sum += exp(x[i] - top);
  return {top, warp_sum(sum)};
}

template <class T>
void softmax_rows(Device device, std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for_rows(device, rows, [=] __device__(std::int64_t row, int lane) {
    const Normaliser<T> by = normaliser_of(x + row * n, n, lane);
    for (std::int64_t i = lane; i < n; i += kWarp) y[row * n + i] = exp(x[row * n + i] - by.top) / by.sum;
  });
}

template <class T>
void log_softmax_rows(Device device, std::int64_t rows, std::int64_t n, const T* x, T* y) {
  for_rows(device, rows, [=] __device__(std::int64_t row, int lane) {
    const Normaliser<T> by = normaliser_of(x + row * n, n, lane);
    const T log_sum = by.top + log(by.sum);
    for (std::int64_t i = lane; i < n; i += kWarp) y[row * n + i] = x[row * n + i] - log_sum;
  });
}

template <class T>
void softmax_gradient(Device device, std::int64_t rows, std::int64_t n, const T* y, const T* dy, T* dx) {
  for_rows(device, rows, [=] __device__(std::int64_t row, int lane) {
    const std::int64_t at = row * n;
    T dot = 0;
    for (std::int64_t i = lane; i < n; i += kWarp) dot += y[at + i] * dy[at + i];
    dot = warp_sum(dot);
    for (std::int64_t i = lane; i < n; i += kWarp) dx[at + i] = y[at + i] * (dy[at + i] - dot);
  });
}

template <class T>
void log_softmax_gradient(Device device, std::int64_t rows, std::int64_t n, const T* y, const T* dy, T* dx) {
  for_rows(device, rows, [=] __device__(std::int64_t row, int lane) {
    const std::int64_t at = row * n;
    T sum = 0;
    for (std::int64_t i = lane; i < n; i += kWarp) sum += dy[at + i];
    sum = warp_sum(sum);
    for (std::int64_t i = lane; i < n; i += kWarp) dx[at + i] = dy[at + i] - exp(y[at + i]) * sum;
  });
}

}  // namespace

void softmax_forward(const Tensor& x, Tensor& y) {
  dispatch_float("softmax", x.dtype(), [&](auto type) {
    using T = decltype(type);
    softmax_rows<T>(x.device(), x.rows(), x.columns(), x.data<T>(), y.data<T>());
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_float("softmax", y.dtype(), [&](auto type) {
    using T = decltype(type);
    softmax_gradient<T>(y.device(), y.rows(), y.columns(), y.data<T>(), dy.data<T>(), dx.data<T>());
  });
}

void log_softmax_forward(const Tensor& x, Tensor& y) {
  dispatch_float("log_softmax", x.dtype(), [&](auto type) {
    using T = decltype(type);
    log_softmax_rows<T>(x.device(), x.rows(), x.columns(), x.data<T>(), y.data<T>());
  });
}

void log_softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_float("log_softmax", y.dtype(), [&](auto type) {
    using T = decltype(type);
    log_softmax_gradient<T>(y.device(), y.rows(), y.columns(), y.data<T>(), dy.data<T>(), dx.data<T>());
  });
}

}  // namespace tessera::cuda
