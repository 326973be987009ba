#include "tensor/core/dispatch.h"
#include "tensor/cuda/launch.cuh"
#include "tensor/ops/join/join.h"

namespace tessera::cuda {
namespace {

template <class T>
void move_as(Device device, std::int64_t rows, std::int64_t width, bool add, const T* x, std::int64_t x_columns, T* y,
             std::int64_t y_columns) {
  for_each(device, rows * width, [=] __device__(std::int64_t i) {
    T& to = y[i / width * y_columns + i % width];
    const T from = x[i / width * x_columns + i % width];
    to = add ? to + from : from;
  });
}

}  // namespace

void move_columns(const Tensor& x, std::int64_t from, std::int64_t width, bool add, Tensor& y, std::int64_t to) {
  dispatch_float("join", x.dtype(), [&](auto type) {
    using T = decltype(type);
    move_as<T>(y.device(), y.rows(), width, add, x.data<T>() + from, x.columns(), y.data<T>() + to, y.columns());
  });
}

}  // namespace tessera::cuda
