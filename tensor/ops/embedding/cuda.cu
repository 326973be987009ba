#include <vector>

#include "tensor/core/device_copy.h"
#include "tensor/core/dispatch.h"
#include "tensor/cuda/reduce.cuh"
#include "tensor/ops/embedding/embedding.h"

namespace tessera::cuda {
namespace {

template <class T>
void gather(Device device, std::int64_t rows, std::int64_t width, int levels, const std::int32_t* id, T scale,
            const T* table, T* y) {
  for_each(device, rows * width, [=] __device__(std::int64_t at) {
    const std::int64_t row = at / width, column = at % width;
    T sum = 0;
    for (int l = 0; l < levels; ++l) {
      const std::int32_t from = id[row * levels + l];
      if (from >= 0) sum += table[from * width + column];
    }
    y[at] = scale * sum;
  });
}

// The positions of each row that is named at all, in rising order: what a thread adds is never another's, and its order
// is fixed.
struct Groups {
  std::vector<std::int32_t> row, position;
  std::vector<std::int64_t> start;  // one more than there are rows
};

Groups group(std::span<const std::int32_t> ids, std::int64_t rows) {
  std::vector<std::int64_t> next(static_cast<std::size_t>(rows) + 1);
  for (const std::int32_t id : ids)
    if (id >= 0) ++next[static_cast<std::size_t>(id) + 1];
  Groups groups;
  groups.start.push_back(0);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::int64_t& upper = next[static_cast<std::size_t>(row) + 1];
    if (upper > 0) {
      groups.row.push_back(static_cast<std::int32_t>(row));
      groups.start.push_back(groups.start.back() + upper);
    }
    upper += next[static_cast<std::size_t>(row)];
  }
  groups.position.resize(static_cast<std::size_t>(groups.start.back()));
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] >= 0)
      groups.position[static_cast<std::size_t>(next[static_cast<std::size_t>(ids[i])]++)] =
          static_cast<std::int32_t>(i);
  return groups;
}

template <class T>
void scatter(Device device, const Groups& groups, std::int64_t width, int levels, T scale, const T* dy, T* gradient) {
  const Tensor rows = upload(std::span<const std::int32_t>(groups.row), device);
  const Tensor starts = upload(std::span<const std::int64_t>(groups.start), device);
  const Tensor positions = upload(std::span<const std::int32_t>(groups.position), device);
  const std::int32_t *row = rows.data<std::int32_t>(), *position = positions.data<std::int32_t>();
  const std::int64_t* start = starts.data<std::int64_t>();
  for_each(device, rows.numel() * width, [=] __device__(std::int64_t at) {
    const std::int64_t which = at / width, column = at % width;
    T& to = gradient[row[which] * width + column];
    T sum = to;
    for (std::int64_t i = start[which]; i < start[which + 1]; ++i)
      sum += scale * dy[position[i] / levels * width + column];
    to = sum;
  });
}

}  // namespace

void embedding_forward(const Tensor& x, std::span<const std::int32_t> ids, int levels, double scale, Tensor& y) {
  const Tensor list = upload(ids, x.device());
  dispatch_float("embedding", x.dtype(), [&](auto type) {
    using T = decltype(type);
    gather<T>(x.device(), y.rows(), x.columns(), levels, list.data<std::int32_t>(), static_cast<T>(scale), x.data<T>(),
              y.data<T>());
  });
}

void embedding_backward(const Tensor& dy, std::span<const std::int32_t> ids, int levels, double scale, double beta,
                        Tensor& gradient) {
  if (beta == 0.0) device_zero(gradient.raw(), gradient.bytes(), gradient.device());
  const Groups groups = group(ids, gradient.rows());
  dispatch_float("embedding", dy.dtype(), [&](auto type) {
    using T = decltype(type);
    scatter<T>(dy.device(), groups, dy.columns(), levels, static_cast<T>(scale), dy.data<T>(), gradient.data<T>());
  });
}

}  // namespace tessera::cuda
