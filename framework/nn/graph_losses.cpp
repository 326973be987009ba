#include "framework/nn/graph_losses.h"

#include <algorithm>
#include <cmath>

#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

Tensor norm(const Tensor& x) {
  const double length = std::sqrt(sum(square(x.detach())).item());
  const Tensor y = Tensor::scalar(length, x.dtype());
  return record("norm", y, {&x}, [x = x.detach(), length](const Tensor& dy, Grads& dx) {
    dx[0].add(scale(x, length > 0.0 ? dy.item() / length : 0.0));
  });
}

template <class F>
Tensor total(const std::vector<Tensor>& parts, F&& f) {
  check(!parts.empty(), "loss: no parts");
  Tensor all = f(parts[0]);
  for (std::size_t i = 1; i < parts.size(); ++i) all = add(all, f(parts[i]));
  return all;
}

}  // namespace

Tensor half_squares(const std::vector<Tensor>& parts, std::int64_t rows) {
  return scale(total(parts, [](const Tensor& x) { return sum(square(x)); }), 0.5 / static_cast<double>(rows));
}

Tensor norms(const std::vector<Tensor>& parts, std::int64_t rows) {
  return scale(total(parts, norm), 1.0 / static_cast<double>(rows));
}

Tensor rows_bpr(const Tensor& users, const Tensor& positive, const Tensor& negative) {
  const std::int64_t rows = users.rows(), each = rows == 0 ? 0 : negative.rows() / rows;
  check(each >= 1 && negative.rows() == rows * each && positive.rows() == rows, "rows_bpr: ", rows, " users, ",
        positive.rows(), " positives and ", negative.rows(), " negatives; expected negatives for each pair");
  if (each == 1) return bpr(row_dot(users, positive), row_dot(users, negative));
  std::vector<std::int32_t> row(static_cast<std::size_t>(negative.rows()));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / each);
  const Tensor u = gather_rows(users, row);
  return bpr(row_dot(u, gather_rows(positive, row)), row_dot(u, negative));
}

Tensor batch_bpr(const Tensor& users, const Tensor& items, const TrainBatch& batch) {
  check(!batch.negative.empty(), "batch_bpr: the batch has no negatives; the model's spec must ask for them");
  return rows_bpr(gather_rows(users, batch.histories.user), gather_rows(items, batch.target),
                  gather_rows(items, batch.negative));
}

}  // namespace tessera
