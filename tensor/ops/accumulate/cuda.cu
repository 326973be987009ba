#include "tensor/core/dispatch.h"
#include "tensor/cuda/launch.cuh"
#include "tensor/ops/accumulate/accumulate.h"

namespace tessera::cuda {
namespace {

template <class T>
void add_onto(Device device, std::int64_t n, T* to, const T* from) {
  for_each(device, n, [=] __device__(std::int64_t i) { to[i] += from[i]; });
}

}  // namespace

void accumulate(Tensor& y, const Tensor& x) {
  dispatch_float("accumulate", y.dtype(), [&](auto type) {
    using T = decltype(type);
    add_onto(y.device(), y.numel(), y.data<T>(), x.data<T>());
  });
}

}  // namespace tessera::cuda
