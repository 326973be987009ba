#include <algorithm>
#include <cmath>

#include "tensor/core/dispatch.h"
#include "tensor/core/fast_math.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/range_cross_entropy/range_cross_entropy.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kQueries = 64;  // a tile

template <class T>
T dot(const T* a, const T* b, std::int64_t n) {
  constexpr int kLanes = 16;
  T sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  T sum = 0;
  for (const T part : sums) sum += part;
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
void add_scaled(T* y, const T* x, T factor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

// Tiles of whole groups: queries with one range stay in one tile, so no two threads touch a row of dw.
std::vector<std::size_t> group_tiles(std::span<const RangeChoice> choices, std::span<const std::int32_t> order) {
  std::vector<std::size_t> begin{0};
  for (std::size_t i = 1; i < order.size(); ++i) {
    const bool new_group =
        choices[static_cast<std::size_t>(order[i])].begin != choices[static_cast<std::size_t>(order[i - 1])].begin;
    if (new_group && i - begin.back() >= static_cast<std::size_t>(kQueries)) begin.push_back(i);
  }
  begin.push_back(order.size());
  return begin;
}

}  // namespace

double range_cross_entropy_forward(const Tensor& q, const Tensor& w, std::span<const RangeChoice> choices,
                                   std::span<const std::int64_t> first, Tensor& p) {
  const auto count = static_cast<std::int64_t>(choices.size());
  std::vector<double> losses(static_cast<std::size_t>((count + kQueries - 1) / kQueries), 0.0);
  dispatch_float("range_cross_entropy", q.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = q.columns();
    parallel_rows(count, kQueries, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const RangeChoice& c = choices[static_cast<std::size_t>(i)];
        T* out = p.data<T>() + first[static_cast<std::size_t>(i)];
        const std::int64_t n = c.end - c.begin;
        for (std::int64_t r = 0; r < n; ++r)
          out[r] = dot(q.data<T>() + i * width, w.data<T>() + (c.begin + r) * width, width);
        const T top = *std::max_element(out, out + n), right = out[c.target - c.begin];
        T sum = 0;
        for (std::int64_t r = 0; r < n; ++r) sum += out[r] = detail::fast_exp(out[r] - top);
        losses[static_cast<std::size_t>(begin / kQueries)] +=
            static_cast<double>(top - right) + std::log(static_cast<double>(sum));
        for (std::int64_t r = 0; r < n; ++r) out[r] /= sum;
      }
    });
  });
  double loss = 0.0;
  for (const double part : losses) loss += part;
  return count > 0 ? loss / static_cast<double>(count) : 0.0;
}

void range_cross_entropy_backward(const Tensor& q, const Tensor& w, std::span<const RangeChoice> choices,
                                  std::span<const std::int64_t> first, const Tensor& p,
                                  std::span<const std::int32_t> order, double factor, Tensor& dq, Tensor& dw,
                                  double beta) {
  const std::vector<std::size_t> tiles = group_tiles(choices, order);
  dispatch_float("range_cross_entropy", q.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = q.columns();
    if (dw && beta == 0.0)
      parallel_rows(w.rows(), 1024, [&](std::int64_t begin, std::int64_t end) {
        std::fill(dw.data<T>() + begin * width, dw.data<T>() + end * width, T(0));
      });
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      const auto at = static_cast<std::size_t>(tile);
      for (std::size_t o = tiles[at]; o < tiles[at + 1]; ++o) {
        const std::int64_t i = order[o];
        const RangeChoice& c = choices[static_cast<std::size_t>(i)];
        const T* probability = p.data<T>() + first[static_cast<std::size_t>(i)];
        T* dqi = dq ? dq.data<T>() + i * width : nullptr;
        if (dqi) std::fill(dqi, dqi + width, T(0));
        for (std::int64_t row = c.begin; row < c.end; ++row) {
          const T g = static_cast<T>(factor) * (probability[row - c.begin] - (row == c.target ? T(1) : T(0)));
          if (dqi) add_scaled(dqi, w.data<T>() + row * width, g, width);
          if (dw) add_scaled(dw.data<T>() + row * width, q.data<T>() + i * width, g, width);
        }
      }
    });
  });
}

}  // namespace tessera::cpu
