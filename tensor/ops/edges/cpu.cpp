#include <algorithm>
#include <cmath>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/edges/edges.h"

namespace tessera::cpu {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// f(place, count) for each line with entries: place(i) is where the value of its entry i stands.
template <class F>
void for_lines(const SparseMatrix::Half& a, F&& f) {
  parallel_for(static_cast<std::int64_t>(a.tiles.size()) - 1, [&](std::int64_t tile) {
    for (std::int64_t line = a.tiles[at(tile)]; line < a.tiles[at(tile) + 1]; ++line) {
      const std::int64_t first = a.offset[at(line)], count = a.offset[at(line) + 1] - first;
      const auto place = [&](std::int64_t i) { return a.entry.empty() ? first + i : a.entry[at(first + i)]; };
      if (count > 0) f(place, count);
    }
  });
}

}  // namespace

void edge_softmax_forward(const SparseMatrix::Half& a, const Tensor& x, Tensor& y) {
  dispatch_float("edge_softmax", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_lines(a, [&](auto place, std::int64_t count) {
      T top = from[place(0)], sum = 0;
      for (std::int64_t i = 1; i < count; ++i) top = std::max(top, from[place(i)]);
      for (std::int64_t i = 0; i < count; ++i) sum += to[place(i)] = std::exp(from[place(i)] - top);
      for (std::int64_t i = 0; i < count; ++i) to[place(i)] /= sum;
    });
  });
}

void edge_softmax_backward(const SparseMatrix::Half& a, const Tensor& y, const Tensor& dy, Tensor& dx) {
  dispatch_float("edge_softmax", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *p = y.data<T>(), *g = dy.data<T>();
    T* d = dx.data<T>();
    for_lines(a, [&](auto place, std::int64_t count) {
      T sum = 0;
      for (std::int64_t i = 0; i < count; ++i) sum += p[place(i)] * g[place(i)];
      for (std::int64_t i = 0; i < count; ++i) d[place(i)] = p[place(i)] * (g[place(i)] - sum);
    });
  });
}

}  // namespace tessera::cpu
