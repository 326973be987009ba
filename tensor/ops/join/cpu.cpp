#include <algorithm>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/join/join.h"

namespace tessera::cpu {

void move_columns(const Tensor& x, std::int64_t from, std::int64_t width, bool add, Tensor& y, std::int64_t to) {
  const std::int64_t x_columns = x.columns(), y_columns = y.columns();
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, width));
  dispatch_float("join", x.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_rows(y.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const T* source = x.data<T>() + row * x_columns + from;
        T* target = y.data<T>() + row * y_columns + to;
        if (add) {
          for (std::int64_t i = 0; i < width; ++i) target[i] += source[i];
        } else {
          std::copy_n(source, width, target);
        }
      }
    });
  });
}

void grow_columns(const Tensor& before, std::span<const std::int32_t> rows, const Tensor& x, std::int64_t from,
                  Tensor& y) {
  const std::int64_t old = before.columns(), fresh = y.columns() - old;
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, y.columns()));
  dispatch_float("join", x.dtype(), [&](auto type) {
    using T = decltype(type);
    parallel_rows(y.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* target = y.data<T>() + i * y.columns();
        std::copy_n(before.data<T>() + rows[static_cast<std::size_t>(i)] * old, old, target);
        std::copy_n(x.data<T>() + i * x.columns() + from, fresh, target + old);
      }
    });
  });
}

}  // namespace tessera::cpu
