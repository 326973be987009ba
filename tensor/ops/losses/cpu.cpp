#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/reduce/lanes.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kTile = 16384;  // elements

}  // namespace

void squared_difference(const Tensor& x, const Tensor& y, double factor, Tensor& out) {
  dispatch_float("mse", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *p = x.data<T>(), *q = y.data<T>();
    const std::int64_t n = x.numel();
    std::vector<double> part(static_cast<std::size_t>((n + kTile - 1) / kTile));
    parallel_rows(n, kTile, [&](std::int64_t begin, std::int64_t end) {
      part[static_cast<std::size_t>(begin / kTile)] =
          detail::lane_sum(end - begin, [a = p + begin, b = q + begin](std::int64_t i) {
            const double d = static_cast<double>(a[i] - b[i]);
            return d * d;
          });
    });
    double total = 0;
    for (const double value : part) total += value;
    out.data<T>()[0] = static_cast<T>(factor * total);
  });
}

void scaled_difference(const Tensor& x, const Tensor& y, double factor, const Tensor& by, Tensor& out) {
  dispatch_float("mse", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *p = x.data<T>(), *q = y.data<T>();
    T* to = out.data<T>();
    const T scale = static_cast<T>(factor * static_cast<double>(by.data<T>()[0]));
    parallel_rows(x.numel(), kTile, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = scale * (p[i] - q[i]);
    });
  });
}

}  // namespace tessera::cpu
