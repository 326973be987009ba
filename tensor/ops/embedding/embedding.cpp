#include "tensor/ops/embedding/embedding.h"

#include <utility>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"

namespace tessera {
namespace {

void check_ids(const char* op, const Tensor& x, std::span<const std::int32_t> ids) {
  const std::int64_t rows = x.dim(0);
  for (std::size_t i = 0; i < ids.size(); ++i)
    check(ids[i] >= -1 && ids[i] < rows, op, ": id ", ids[i], " at position ", i, ", expected -1 (none) to ", rows - 1,
          " for ", rows, " rows");
}

Tensor gather(const char* op, const Tensor& x, std::span<const std::int32_t> ids, int levels, double scale) {
  check(x.shape().rank() == 2, op, ": table ", x.shape().text(), ", expected (rows, width)");
  check(levels >= 1, op, ": ", levels, " levels, expected 1 or more");
  check(ids.size() % static_cast<std::size_t>(levels) == 0, op, ": ", ids.size(), " ids are not rows of ", levels,
        " levels");
  check_ids(op, x, ids);
  Tensor y({static_cast<std::int64_t>(ids.size()) / levels, x.columns()}, x.dtype(), x.device());
  TESSERA_ON_DEVICE(op, x.device(), embedding_forward(x, ids, levels, scale, y));
  if (!recording({&x})) return y;
  return record(
      op, y, {&x},
      [op, levels, scale, kept = std::vector<std::int32_t>(ids.begin(), ids.end())](const Tensor& dy, Grads& dx) {
        if (!dx[0]) return;
        auto [gradient, beta] = dx[0].into();
        TESSERA_ON_DEVICE(op, dy.device(), embedding_backward(dy, kept, levels, scale, beta, gradient));
      });
}

}  // namespace

Tensor embedding(const Tensor& table, std::span<const std::int32_t> ids) {
  return gather("embedding", table, ids, 1, 1.0);
}

Tensor embedding_sum(const Tensor& table, std::span<const std::int32_t> ids, int levels, double scale) {
  return gather("embedding_sum", table, ids, levels, scale);
}

Tensor gather_rows(const Tensor& x, std::span<const std::int32_t> rows) {
  return gather("gather_rows", x, rows, 1, 1.0);
}

}  // namespace tessera
