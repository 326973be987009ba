#include <algorithm>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/elementwise/functions.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kTile = 16384;  // elements

std::int64_t rows_a_tile(std::int64_t columns) {
  return std::max<std::int64_t>(1, kTile / std::max<std::int64_t>(1, columns));
}

}  // namespace

void unary_forward(Unary f, const Tensor& x, Tensor& y) {
  dispatch_float("elementwise", x.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_unary(f, [&](auto tag) {
      const T* from = x.data<T>();
      T* to = y.data<T>();
      parallel_rows(x.numel(), kTile, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) to[i] = detail::value<decltype(tag)::value>(from[i]);
      });
    });
  });
}

void unary_backward(Unary f, const Tensor& x, const Tensor& dy, Tensor& dx) {
  dispatch_float("elementwise", x.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_unary(f, [&](auto tag) {
      const T *from = x.data<T>(), *g = dy.data<T>();
      T* to = dx.data<T>();
      parallel_rows(x.numel(), kTile, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) to[i] = g[i] * detail::slope<decltype(tag)::value>(from[i]);
      });
    });
  });
}

void binary_forward(Binary f, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_float("elementwise", a.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_binary(f, [&](auto tag) {
      const T *p = a.data<T>(), *q = b.data<T>();
      T* to = y.data<T>();
      if (a.numel() == b.numel()) {
        parallel_rows(a.numel(), kTile, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) to[i] = detail::value<decltype(tag)::value>(p[i], q[i]);
        });
        return;
      }
      const std::int64_t n = a.columns();
      parallel_rows(a.rows(), rows_a_tile(n), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t row = begin; row < end; ++row)
          for (std::int64_t i = 0; i < n; ++i)
            to[row * n + i] = detail::value<decltype(tag)::value>(p[row * n + i], q[i]);
      });
    });
  });
}

void scale(const Tensor& x, double factor, Tensor& y) {
  dispatch_float("scale", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const T by = static_cast<T>(factor);
    parallel_rows(x.numel(), kTile, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = by * from[i];
    });
  });
}

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  dispatch_float("scale_rows", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *from = x.data<T>(), *by = s.data<T>();
    T* to = y.data<T>();
    const std::int64_t n = x.columns();
    parallel_rows(x.rows(), rows_a_tile(n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t i = 0; i < n; ++i) to[row * n + i] = by[row] * from[row * n + i];
    });
  });
}

}  // namespace tessera::cpu
