#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/linear/activation.h"

namespace tessera::detail {

// What linear and feed_forward do to a block of rows beside the products.

// y = activation(y + b) on a block of a product with leading dimension ld; z, where wanted, holds the product and gets
// z + b.
template <class T, class A>
void finish_block(std::int64_t rows, std::int64_t columns, std::int64_t ld, const T* b, T* y, T* z, A activation) {
  for (std::int64_t i = 0; i < rows; ++i) {
    T* out = y + i * ld;
    T* before = z != nullptr ? z + i * ld : out;
    if (b != nullptr)
      for (std::int64_t j = 0; j < columns; ++j) before[j] += b[j];
    if constexpr (!std::is_same_v<A, None>)
      for (std::int64_t j = 0; j < columns; ++j) out[j] = activation.value(before[j]);
  }
}

// g = dy activation'(z) on whole rows (g may be dy); their column sums are added to `sums` where wanted.
template <class T, class A>
void local_gradient(std::int64_t rows, std::int64_t columns, const T* dy, const T* z, T* g, T* sums, A activation) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* in = dy + i * columns;
    if constexpr (!std::is_same_v<A, None>) {
      const T* before = z + i * columns;
      T* out = g + i * columns;
      for (std::int64_t j = 0; j < columns; ++j) out[j] = in[j] * activation.slope(before[j]);
      in = out;
    }
    if (sums != nullptr)
      for (std::int64_t j = 0; j < columns; ++j) sums[j] += in[j];
  }
}

// How many parts of the rows get a dw of their own: as many as keep the cost of adding them small beside the products,
// and a power of two, so that two or four threads have the same work. Fewer than kFewParts: the rows are too few, or
// the weights too large; go another way.
constexpr std::int64_t kFewParts = 4;
inline std::int64_t row_parts(std::int64_t rows, std::int64_t weights) {
  constexpr std::int64_t kMaxParts = 16, kMaxSize = 1 << 21;  // elements of all copies of dw together
  const std::int64_t most =
      std::min({kMaxParts, rows / (weights <= 32768 ? 128 : 256), kMaxSize / std::max<std::int64_t>(weights, 1)});
  return static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(most)));
}

// to = beta to + part 0 + part 1 + ..., in that order. parts: (count, size).
template <class T>
void add_parts(const Tensor& parts, const GradSlot::Into& into) {
  const std::int64_t count = parts.dim(0), size = parts.dim(1);
  T* to = into.buffer.data<T>();
  parallel_rows(size, 8192, [&](std::int64_t begin, std::int64_t end) {
    if (into.beta == 0.0) std::fill(to + begin, to + end, T(0));
    for (std::int64_t p = 0; p < count; ++p) {
      const T* from = parts.data<T>() + p * size;
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    }
  });
}

// (rows, columns) to (columns, rows): a product reads weights faster in its natural order.
template <class T>
Tensor transposed(const Tensor& w) {
  const std::int64_t rows = w.dim(0), columns = w.dim(1);
  Tensor out({columns, rows}, w.dtype());
  const T* from = w.data<T>();
  T* to = out.data<T>();
  parallel_rows(rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = 0; j < columns; ++j)
      for (std::int64_t i = begin; i < end; ++i) to[j * rows + i] = from[i * columns + j];
  });
  return out;
}

}  // namespace tessera::detail
