#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/core/simd.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kAhead = 12;  // entries: far enough that the row has come from the cache when it is its turn

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// The entries of one line. `known` of them may be looked at: the line's own and those of lines that follow.
template <class V>
struct Entries {
  const std::int32_t* index;
  const V* value;
  std::int64_t count, known;
};

// y = sum_e value_e x_index + beta y over kVectors vectors of the row; the sums stay in registers.
template <int kVectors, class T, class V>
void add_rows(const Entries<V>& line, const T* x, std::int64_t width, bool adds, T* y) {
  constexpr int kLanes = simd::kLanes<T>, kLines = kVectors * simd::kBytes / 64;
  simd::Vec<T> sum[kVectors] = {};
  for (std::int64_t e = 0; e < line.count; ++e) {
    const T* next = x + static_cast<std::int64_t>(line.index[std::min(e + kAhead, line.known - 1)]) * width;
    for (int l = 0; l < kLines; ++l) __builtin_prefetch(next + l * (64 / static_cast<int>(sizeof(T))));
    const T* row = x + static_cast<std::int64_t>(line.index[e]) * width;
    const simd::Vec<T> value = simd::broadcast(static_cast<T>(line.value[e]));
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) sum[v] += value * simd::load(row + v * kLanes);
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    if (adds) sum[v] += simd::load(y + v * kLanes);
    simd::store(y + v * kLanes, sum[v]);
  }
}

template <class T, class V>
void add_rest(const Entries<V>& line, const T* x, std::int64_t width, std::int64_t n, bool adds, T* y) {
  T sum[simd::kLanes<T>] = {};
  for (std::int64_t e = 0; e < line.count; ++e) {
    const T* row = x + static_cast<std::int64_t>(line.index[e]) * width;
    const auto value = static_cast<T>(line.value[e]);
    for (std::int64_t d = 0; d < n; ++d) sum[d] += value * row[d];
  }
  for (std::int64_t d = 0; d < n; ++d) y[d] = adds ? y[d] + sum[d] : sum[d];
}

template <class T, class V>
void add_line(const Entries<V>& line, const T* x, std::int64_t width, bool adds, T* y) {
  constexpr std::int64_t kLanes = simd::kLanes<T>;
  std::int64_t d = 0;
  for (; d + 8 * kLanes <= width; d += 8 * kLanes) add_rows<8>(line, x + d, width, adds, y + d);
  if (d + 4 * kLanes <= width) add_rows<4>(line, x + d, width, adds, y + d), d += 4 * kLanes;
  if (d + 2 * kLanes <= width) add_rows<2>(line, x + d, width, adds, y + d), d += 2 * kLanes;
  if (d + kLanes <= width) add_rows<1>(line, x + d, width, adds, y + d), d += kLanes;
  if (d < width) add_rest(line, x + d, width, width - d, adds, y + d);
}

template <class T, class V>
void product(const SparseMatrix::Half& a, const V* value, const Tensor& x, bool adds, Tensor& y) {
  const std::int64_t width = x.columns(), entries = static_cast<std::int64_t>(a.index.size());
  const T* from = x.data<T>();
  T* to = y.data<T>();
  parallel_for(static_cast<std::int64_t>(a.tiles.size()) - 1, [&](std::int64_t tile) {
    for (std::int64_t line = a.tiles[at(tile)]; line < a.tiles[at(tile) + 1]; ++line) {
      const std::int64_t first = a.offset[at(line)];
      const Entries<V> own{a.index.data() + first, value + first, a.offset[at(line) + 1] - first, entries - first};
      add_line(own, from, width, adds, to + line * width);
    }
  });
}

template <class T>
T dot(const T* a, const T* b, std::int64_t n) {
  simd::Vec<T> sum{};
  T rest = 0;
  simd::for_vectors<T>(
      n, [&](std::int64_t d) { sum += simd::load(a + d) * simd::load(b + d); },
      [&](std::int64_t d, std::int64_t left) {
        for (std::int64_t i = d; i < d + left; ++i) rest += a[i] * b[i];
      });
  return simd::sum<T>(sum) + rest;
}

// Pieces of like work of some lines.
std::vector<std::int64_t> tiles_of(const SparseMatrix::Half& a, std::span<const std::int32_t> lines) {
  std::vector<std::int64_t> offset(lines.size() + 1, 0);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto line = static_cast<std::size_t>(lines[i]);
    offset[i + 1] = offset[i] + a.offset[line + 1] - a.offset[line];
  }
  return even_tiles(offset);
}

}  // namespace

void sparse_product(const SparseMatrix::Half& a, const Tensor& values, const Tensor& x, double beta, Tensor& y) {
  dispatch_float("sparse_matmul", x.dtype(), [&](auto type) {
    using T = decltype(type);
    if (values) product<T, T>(a, values.data<T>(), x, beta != 0.0, y);
    else product<T, float>(a, a.value.data(), x, beta != 0.0, y);
  });
}

void sparse_product_rows(const SparseMatrix::Half& a, const Tensor& x, std::span<const std::int32_t> lines, Tensor& y) {
  const std::vector<std::int64_t> tiles = tiles_of(a, lines);
  dispatch_float("sparse_matmul_rows", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = x.columns();
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      for (std::int64_t i = tiles[at(tile)]; i < tiles[at(tile) + 1]; ++i) {
        const auto line = static_cast<std::size_t>(lines[at(i)]);
        const std::int64_t first = a.offset[line], count = a.offset[line + 1] - first;
        const Entries<float> own{a.index.data() + first, a.value.data() + first, count, count};
        add_line(own, x.data<T>(), width, false, y.data<T>() + i * width);
      }
    });
  });
}

void sparse_product_placed(const SparseMatrix::Half& a, const Tensor& x, std::span<const std::int32_t> lines,
                           std::span<const std::int32_t> place, double beta, Tensor& y) {
  const bool all = lines.empty() && y.rows() == a.lines();
  const std::vector<std::int64_t> some = all ? std::vector<std::int64_t>() : tiles_of(a, lines);
  const std::vector<std::int64_t>& tiles = all ? a.tiles : some;
  dispatch_float("sparse_matmul_rows", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = x.columns();
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      const std::int64_t begin = tiles[at(tile)], end = tiles[at(tile) + 1];
      const auto line = [&](std::int64_t i) { return all ? at(i) : static_cast<std::size_t>(lines[at(i)]); };
      std::int64_t most = 0;
      for (std::int64_t i = begin; i < end; ++i) most += a.offset[line(i) + 1] - a.offset[line(i)];
      // The entries that count, closed up without branches: many do not, in no order that a processor could guess.
      std::vector<std::int32_t> index(at(most) + 1);
      std::vector<float> value(at(most) + 1);
      std::vector<std::int64_t> until;
      std::int64_t kept = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t e = a.offset[line(i)]; e < a.offset[line(i) + 1]; ++e) {
          const std::int32_t where = place[static_cast<std::size_t>(a.index[at(e)])];
          index[at(kept)] = where;
          value[at(kept)] = a.value[at(e)];
          kept += where >= 0 ? 1 : 0;
        }
        until.push_back(kept);
      }
      std::int64_t first = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t last = until[at(i - begin)];
        T* to = y.data<T>() + i * width;
        if (last > first || beta == 0.0)
          add_line(Entries<float>{index.data() + first, value.data() + first, last - first, kept - first}, x.data<T>(),
                   width, beta != 0.0, to);
        first = last;
      }
    });
  });
}

void sparse_dots(const SparseMatrix::Half& a, const Tensor& left, const Tensor& right, double beta, Tensor& y) {
  dispatch_float("sparse_dots", left.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = left.columns();
    parallel_for(static_cast<std::int64_t>(a.tiles.size()) - 1, [&](std::int64_t tile) {
      for (std::int64_t line = a.tiles[at(tile)]; line < a.tiles[at(tile) + 1]; ++line)
        for (std::int64_t e = a.offset[at(line)]; e < a.offset[at(line) + 1]; ++e) {
          const T* other = right.data<T>() + static_cast<std::int64_t>(a.index[at(e)]) * width;
          const T value = dot(left.data<T>() + line * width, other, width);
          T& to = y.data<T>()[e];
          to = beta != 0.0 ? to + value : value;
        }
    });
  });
}

Tensor in_order_of(const SparseMatrix::Half& a, const Tensor& values) {
  if (a.entry.empty()) return values.detach();
  Tensor ordered(values.shape(), values.dtype());
  dispatch_float("sparse_matmul", values.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* from = values.data<T>();
    T* to = ordered.data<T>();
    parallel_rows(values.numel(), 16384, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t e = begin; e < end; ++e) to[e] = from[a.entry[at(e)]];
    });
  });
  return ordered;
}

}  // namespace tessera::cpu
