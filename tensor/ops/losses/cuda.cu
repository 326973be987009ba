#include "tensor/core/dispatch.h"
#include "tensor/cuda/reduce.cuh"
#include "tensor/ops/losses/losses.h"

namespace tessera::cuda {
namespace {

template <class T>
void sum_squares(Device device, std::int64_t n, const T* x, const T* y, double factor, T* out) {
  const auto square = [=] __device__(std::int64_t i) {
    const double d = static_cast<double>(x[i] - y[i]);
    return d * d;
  };
  sum_of(device, n, square, factor, out);
}

template <class T>
void scale_difference(Device device, std::int64_t n, const T* x, const T* y, T factor, const T* by, T* out) {
  for_each(device, n, [=] __device__(std::int64_t i) { out[i] = factor * by[0] * (x[i] - y[i]); });
}

}  // namespace

void squared_difference(const Tensor& x, const Tensor& y, double factor, Tensor& out) {
  dispatch_float("mse", x.dtype(), [&](auto type) {
    using T = decltype(type);
    sum_squares<T>(x.device(), x.numel(), x.data<T>(), y.data<T>(), factor, out.data<T>());
  });
}

void scaled_difference(const Tensor& x, const Tensor& y, double factor, const Tensor& by, Tensor& out) {
  dispatch_float("mse", x.dtype(), [&](auto type) {
    using T = decltype(type);
    scale_difference<T>(x.device(), x.numel(), x.data<T>(), y.data<T>(), static_cast<T>(factor), by.data<T>(),
                        out.data<T>());
  });
}

}  // namespace tessera::cuda
