#include <cmath>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/skeleton/skeleton.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kGrain = 8192;  // elements a tile: by the shape alone, never by the number of threads

}  // namespace

void skeleton_forward(const Tensor& x, Tensor& y) {
  dispatch_float("skeleton", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* a = x.data<T>();
    T* b = y.data<T>();
    parallel_rows(x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) b[i] = a[i] / (1 + std::abs(a[i]));
    });
  });
}

void skeleton_backward(const Tensor& x, const Tensor& dy, Tensor& dx) {
  dispatch_float("skeleton", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *a = x.data<T>(), *g = dy.data<T>();
    T* d = dx.data<T>();
    parallel_rows(x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T slope = 1 / (1 + std::abs(a[i]));
        d[i] = g[i] * slope * slope;
      }
    });
  });
}

}  // namespace tessera::cpu
