#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/reduce/lanes.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kTile = 16384;  // elements

std::int64_t rows_a_tile(std::int64_t columns) {
  return std::max<std::int64_t>(1, kTile / std::max<std::int64_t>(1, columns));
}

// f(row) for each of the rows.
template <class F>
void for_rows(std::int64_t rows, std::int64_t columns, F&& f) {
  parallel_rows(rows, rows_a_tile(columns), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(row);
  });
}

}  // namespace

void sum_all(const Tensor& x, double factor, Tensor& y) {
  dispatch_float("sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* from = x.data<T>();
    const std::int64_t n = x.numel();
    std::vector<double> part(static_cast<std::size_t>((n + kTile - 1) / kTile));
    parallel_rows(n, kTile, [&](std::int64_t begin, std::int64_t end) {
      part[static_cast<std::size_t>(begin / kTile)] =
          detail::lane_sum(end - begin, [p = from + begin](std::int64_t i) { return p[i]; });
    });
    double total = 0;
    for (const double value : part) total += value;
    y.data<T>()[0] = static_cast<T>(factor * total);
  });
}

void sum_columns(const Tensor& x, Tensor& y) {
  dispatch_float("sum_columns", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = x.rows(), n = x.columns();
    const std::int64_t grain = std::max(rows_a_tile(n), (rows + 63) / 64);  // at most 64 partial rows
    const std::int64_t tiles = (rows + grain - 1) / grain;
    Tensor part({tiles, n}, DType::f64);
    parallel_rows(rows, grain, [&](std::int64_t begin, std::int64_t end) {
      double* to = part.data<double>() + begin / grain * n;
      std::fill_n(to, n, 0.0);
      for (std::int64_t row = begin; row < end; ++row) {
        const T* from = x.data<T>() + row * n;
        for (std::int64_t i = 0; i < n; ++i) to[i] += static_cast<double>(from[i]);
      }
    });
    T* out = y.data<T>();
    const double* parts = part.data<double>();
    for (std::int64_t i = 0; i < n; ++i) {
      double total = 0;
      for (std::int64_t tile = 0; tile < tiles; ++tile) total += parts[tile * n + i];
      out[i] = static_cast<T>(total);
    }
  });
}

void row_sum(const Tensor& x, Tensor& y) {
  dispatch_float("row_sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = x.columns();
    for_rows(x.rows(), n, [&, from = x.data<T>(), to = y.data<T>()](std::int64_t row) {
      to[row] = static_cast<T>(detail::lane_sum(n, [p = from + row * n](std::int64_t i) { return p[i]; }));
    });
  });
}

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_float("row_dot", a.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = a.columns();
    for_rows(a.rows(), n, [&, p = a.data<T>(), q = b.data<T>(), to = y.data<T>()](std::int64_t row) {
      to[row] = static_cast<T>(
          detail::lane_sum(n, [r = p + row * n, s = q + row * n](std::int64_t i) { return r[i] * s[i]; }));
    });
  });
}

void repeat_scalar(const Tensor& v, double factor, Tensor& y) {
  dispatch_float("sum", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const T value = static_cast<T>(factor * static_cast<double>(v.data<T>()[0]));
    T* to = y.data<T>();
    parallel_rows(y.numel(), kTile,
                  [&](std::int64_t begin, std::int64_t end) { std::fill(to + begin, to + end, value); });
  });
}

void repeat_row(const Tensor& v, Tensor& y) {
  dispatch_float("sum_columns", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = y.columns();
    for_rows(y.rows(), n,
             [&, from = v.data<T>(), to = y.data<T>()](std::int64_t row) { std::copy_n(from, n, to + row * n); });
  });
}

void repeat_column(const Tensor& v, Tensor& y) {
  dispatch_float("row_sum", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = y.columns();
    for_rows(y.rows(), n,
             [&, from = v.data<T>(), to = y.data<T>()](std::int64_t row) { std::fill_n(to + row * n, n, from[row]); });
  });
}

void segment_sum(const Tensor& x, std::span<const std::int64_t> offset, bool mean, Tensor& y) {
  dispatch_float("segment_sum", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = x.columns(), segments = y.rows();
    const std::int64_t size = segments == 0 ? 0 : x.rows() / segments + 1;  // rows a segment, on average
    for_rows(segments, size * n, [&, from = x.data<T>(), to = y.data<T>()](std::int64_t s) {
      const std::int64_t begin = offset[static_cast<std::size_t>(s)], end = offset[static_cast<std::size_t>(s) + 1];
      T* out = to + s * n;
      std::fill_n(out, n, T(0));
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t i = 0; i < n; ++i) out[i] += from[row * n + i];
      if (!mean || end - begin < 2) return;
      const T factor = T(1) / static_cast<T>(end - begin);
      for (std::int64_t i = 0; i < n; ++i) out[i] *= factor;
    });
  });
}

void segment_spread(const Tensor& dy, std::span<const std::int64_t> offset, bool mean, Tensor& dx) {
  dispatch_float("segment_sum", dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = dx.columns(), segments = dy.rows();
    const std::int64_t size = segments == 0 ? 0 : dx.rows() / segments + 1;
    for_rows(segments, size * n, [&, from = dy.data<T>(), to = dx.data<T>()](std::int64_t s) {
      const std::int64_t begin = offset[static_cast<std::size_t>(s)], end = offset[static_cast<std::size_t>(s) + 1];
      const T factor = mean && end > begin ? T(1) / static_cast<T>(end - begin) : T(1);
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t i = 0; i < n; ++i) to[row * n + i] = factor * from[s * n + i];
    });
  });
}

}  // namespace tessera::cpu
