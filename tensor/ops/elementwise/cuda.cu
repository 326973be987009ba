#include "tensor/core/dispatch.h"
#include "tensor/cuda/launch.cuh"
#include "tensor/ops/elementwise/functions.h"

namespace tessera::cuda {
namespace {

template <Unary F, class T>
void forward_as(Device device, std::int64_t n, const T* x, T* y) {
  for_each(device, n, [=] __device__(std::int64_t i) { y[i] = detail::value<F>(x[i]); });
}

template <Unary F, class T>
void backward_as(Device device, std::int64_t n, const T* x, const T* dy, T* dx) {
  for_each(device, n, [=] __device__(std::int64_t i) { dx[i] = dy[i] * detail::slope<F>(x[i]); });
}

template <Binary F, class T>
void binary_as(Device device, std::int64_t n, std::int64_t period, const T* a, const T* b, T* y) {
  if (n == period) for_each(device, n, [=] __device__(std::int64_t i) { y[i] = detail::value<F>(a[i], b[i]); });
  else for_each(device, n, [=] __device__(std::int64_t i) { y[i] = detail::value<F>(a[i], b[i % period]); });
}

template <class T>
void scale_by(Device device, std::int64_t n, const T* x, T factor, T* y) {
  for_each(device, n, [=] __device__(std::int64_t i) { y[i] = factor * x[i]; });
}

template <class T>
void scale_each_row(Device device, std::int64_t n, std::int64_t columns, const T* x, const T* s, T* y) {
  for_each(device, n, [=] __device__(std::int64_t i) { y[i] = s[i / columns] * x[i]; });
}

}  // namespace

void unary_forward(Unary f, const Tensor& x, Tensor& y) {
  dispatch_float("elementwise", x.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_unary(
        f, [&](auto tag) { forward_as<decltype(tag)::value, T>(x.device(), x.numel(), x.data<T>(), y.data<T>()); });
  });
}

void unary_backward(Unary f, const Tensor& x, const Tensor& dy, Tensor& dx) {
  dispatch_float("elementwise", x.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_unary(f, [&](auto tag) {
      backward_as<decltype(tag)::value, T>(x.device(), x.numel(), x.data<T>(), dy.data<T>(), dx.data<T>());
    });
  });
}

void binary_forward(Binary f, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_float("elementwise", a.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_binary(f, [&](auto tag) {
      binary_as<decltype(tag)::value, T>(a.device(), a.numel(), b.numel(), a.data<T>(), b.data<T>(), y.data<T>());
    });
  });
}

void scale(const Tensor& x, double factor, Tensor& y) {
  dispatch_float("scale", x.dtype(), [&](auto type) {
    using T = decltype(type);
    scale_by<T>(x.device(), x.numel(), x.data<T>(), static_cast<T>(factor), y.data<T>());
  });
}

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  dispatch_float("scale_rows", x.dtype(), [&](auto type) {
    using T = decltype(type);
    scale_each_row<T>(x.device(), x.numel(), x.columns(), x.data<T>(), s.data<T>(), y.data<T>());
  });
}

}  // namespace tessera::cuda
