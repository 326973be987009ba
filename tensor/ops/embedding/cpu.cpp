#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera::cpu {
namespace {

// Positions of the ids, grouped by id (counting sort): those of id r are order[start[r]] .. order[start[r + 1] - 1],
// rising.
struct Groups {
  std::vector<std::int32_t> start, order;
};

Groups group(std::span<const std::int32_t> ids, std::int64_t rows) {
  Groups groups;
  groups.start.assign(static_cast<std::size_t>(rows) + 2, 0);
  for (const std::int32_t id : ids)
    if (id >= 0) ++groups.start[static_cast<std::size_t>(id) + 2];
  for (std::size_t row = 2; row < groups.start.size(); ++row) groups.start[row] += groups.start[row - 1];
  groups.order.resize(static_cast<std::size_t>(groups.start.back()));
  for (std::size_t i = 0; i < ids.size(); ++i)  // start[id + 1] runs from the group's begin to its end
    if (ids[i] >= 0)
      groups.order[static_cast<std::size_t>(groups.start[static_cast<std::size_t>(ids[i]) + 1]++)] =
          static_cast<std::int32_t>(i);
  return groups;
}

template <class T>
void add_scaled(T* __restrict to, const T* __restrict from, std::int64_t n, T scale) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += scale * from[i];
}

// Rows of a large gradient lie far apart: the memory is asked for each some rows before it is needed.
constexpr std::size_t kAhead = 6;

template <class T>
void fetch(const T* row, std::int64_t width) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  for (std::int64_t i = 0; i < std::min<std::int64_t>(width, 8 * kLine); i += kLine) __builtin_prefetch(row + i);
}

}  // namespace

void embedding_forward(const Tensor& x, std::span<const std::int32_t> ids, int levels, double scale, Tensor& y) {
  dispatch_float("embedding", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = x.columns();
    const T* table = x.data<T>();
    T* out = y.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, width * levels));
    parallel_rows(y.rows(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        T* to = out + i * width;
        const std::int32_t* id = ids.data() + i * levels;
        if (levels == 1 && scale == 1.0 && id[0] >= 0) {
          std::copy_n(table + id[0] * width, width, to);
          continue;
        }
        std::fill_n(to, width, T{0});
        for (int l = 0; l < levels; ++l)
          if (id[l] >= 0) add_scaled(to, table + id[l] * width, width, T{1});
        if (scale != 1.0)
          for (std::int64_t d = 0; d < width; ++d) to[d] *= static_cast<T>(scale);
      }
    });
  });
}

void embedding_backward(const Tensor& dy, std::span<const std::int32_t> ids, int levels, double scale, double beta,
                        Tensor& gradient) {
  dispatch_float("embedding", dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = dy.columns(), rows = gradient.rows();
    const Groups groups = group(ids, rows);
    const T* from = dy.data<T>();
    T* to = gradient.data<T>();
    // A tile owns whole rows of the table, so nothing is shared and the order of additions is the order of positions.
    const std::int64_t grain = std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(1, width));
    parallel_rows(rows, grain, [&](std::int64_t begin, std::int64_t end) {
      if (beta == 0.0) std::fill(to + begin * width, to + end * width, T{0});
      for (std::int64_t row = begin; row < end; ++row) {
        const auto first = groups.start[static_cast<std::size_t>(row)],
                   last = groups.start[static_cast<std::size_t>(row) + 1];
        for (auto at = first; at < last; ++at) {
          if (static_cast<std::size_t>(at) + kAhead < groups.order.size())
            fetch(from + groups.order[static_cast<std::size_t>(at) + kAhead] / levels * width, width);
          add_scaled(to + row * width, from + groups.order[static_cast<std::size_t>(at)] / levels * width, width,
                     static_cast<T>(scale));
        }
      }
    });
  });
}

}  // namespace tessera::cpu
