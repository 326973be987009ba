#include "tensor/core/dispatch.h"
#include "tensor/cuda/reduce.cuh"
#include "tensor/ops/elementwise/functions.h"
#include "tensor/ops/linear/linear.h"

namespace tessera::cuda {
namespace {

// y = activation(product + b), z = product + b; b and z may be null, the product may stand in either.
template <Unary F, class T>
void finish(Device device, std::int64_t n, std::int64_t columns, const T* product, const T* b, T* y, T* z) {
  for_each(device, n, [=] __device__(std::int64_t i) {
    const T before = b ? product[i] + b[i % columns] : product[i];
    if (z) z[i] = before;
    y[i] = detail::value<F>(before);
  });
}

template <class T>
void add_column_sums(const Tensor& g, const GradSlot::Into& into) {
  const Device device = g.device();
  const std::int64_t columns = g.columns();
  const Tensor sums({columns}, g.dtype(), device);
  const T* from = g.data<T>();
  column_sums(
      device, g.rows(), columns,
      [=] __device__(std::int64_t row, std::int64_t i) { return static_cast<double>(from[row * columns + i]); },
      sums.data<T>());
  T* to = into.buffer.data<T>();
  const T *sum = sums.data<T>(), beta = static_cast<T>(into.beta);
  for_each(device, columns, [=] __device__(std::int64_t i) { to[i] = beta == T(0) ? sum[i] : beta * to[i] + sum[i]; });
}

}  // namespace

void linear_forward(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, Tensor& y, Tensor& z) {
  dispatch_float("linear", x.dtype(), [&](auto type) {
    using T = decltype(type);
    T* before = z ? z.data<T>() : nullptr;
    T* product = z ? before : y.data<T>();
    blas_gemm(x.device(), {false, false, x.rows(), w.dim(1), w.dim(0)}, x.data<T>(), w.data<T>(), 0.0, product);
    const T* bias = b ? b.data<T>() : nullptr;
    if (bias == nullptr && activation == Activation::none) return;
    detail::with_unary(static_cast<Unary>(activation), [&](auto tag) {
      finish<decltype(tag)::value, T>(x.device(), y.numel(), w.dim(1), product, bias, y.data<T>(), before);
    });
  });
}

void linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& z, Activation activation,
                     LinearGradients& to) {
  Tensor g = dy;
  if (activation != Activation::none) {
    g = Tensor(dy.shape(), dy.dtype(), dy.device());
    cuda::unary_backward(static_cast<Unary>(activation), z, dy, g);
  }
  dispatch_float("linear", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = x.rows(), inputs = w.dim(0), outputs = w.dim(1);
    if (to.dx.buffer)
      blas_gemm(x.device(), {false, true, rows, inputs, outputs}, g.data<T>(), w.data<T>(), to.dx.beta,
                to.dx.buffer.data<T>());
    if (to.dw.buffer)
      blas_gemm(x.device(), {true, false, inputs, outputs, rows}, x.data<T>(), g.data<T>(), to.dw.beta,
                to.dw.buffer.data<T>());
    if (to.db.buffer) add_column_sums<T>(g, to.db);
  });
}

}  // namespace tessera::cuda
