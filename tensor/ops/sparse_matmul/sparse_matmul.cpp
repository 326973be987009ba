#include "tensor/ops/sparse_matmul/sparse_matmul.h"

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"

namespace tessera {
namespace {

const SparseMatrix::Half& half_of(const SparseMatrix& a, bool columns) {
  return columns ? a.by_columns() : a.by_rows();
}

void check_sides(const char* op, const SparseMatrix& a, const Tensor& x, bool transpose) {
  check(static_cast<bool>(a), op, ": there is no matrix");
  check_present(op, "x", x);
  require_cpu_kernel(op, x.device());
  const std::int64_t inner = transpose ? a.rows() : a.columns();
  check(x.shape().rank() == 2 && x.dim(0) == inner, op, ": a (", a.rows(), ", ", a.columns(), ")",
        transpose ? " transposed" : "", ", x ", x.shape().text(), ": expected x (", inner, ", width)");
}

// Where each line stands in `lines`, -1 for the others.
std::vector<std::int32_t> places(const char* op, std::span<const std::int32_t> lines, std::int64_t count) {
  std::vector<std::int32_t> place(static_cast<std::size_t>(count), -1);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    check(lines[i] >= 0 && lines[i] < count, op, ": row ", lines[i], " at position ", i, ", expected 0 to ", count - 1);
    auto& slot = place[static_cast<std::size_t>(lines[i])];
    check(slot == -1, op, ": row ", lines[i], " stands twice, at positions ", slot, " and ", i);
    slot = static_cast<std::int32_t>(i);
  }
  return place;
}

}  // namespace

Tensor sparse_matmul(const SparseMatrix& a, const Tensor& x, bool transpose) {
  check_sides("sparse_matmul", a, x, transpose);
  const auto& half = half_of(a, transpose);
  Tensor y({half.lines(), x.columns()}, x.dtype());
  cpu::sparse_product(half, {}, x, 0.0, y);
  return record("sparse_matmul", y, {&x}, [a, transpose](const Tensor& dy, Grads& dx) {
    auto [gradient, beta] = dx[0].into();
    cpu::sparse_product(half_of(a, !transpose), {}, dy, beta, gradient);
  });
}

Tensor sparse_matmul(const SparseMatrix& a, const Tensor& values, const Tensor& x, bool transpose) {
  const char* op = "sparse_matmul";
  check_sides(op, a, x, transpose);
  check_agree(op, "values", values, "x", x);
  check(values.numel() == a.entries(), op, ": values ", values.shape().text(), " for ", a.entries(), " entries");
  const auto& half = half_of(a, transpose);
  Tensor y({half.lines(), x.columns()}, x.dtype());
  cpu::sparse_product(half, cpu::in_order_of(half, values), x, 0.0, y);
  return record(op, y, {&values, &x},
                [a, transpose, values = values.detach(), x = x.detach()](const Tensor& dy, Grads& dx) {
                  if (dx[0]) {
                    auto [gradient, beta] = dx[0].into();
                    cpu::sparse_dots(a.by_rows(), transpose ? x : dy, transpose ? dy : x, beta, gradient);
                  }
                  if (dx[1]) {
                    const auto& back = half_of(a, !transpose);
                    auto [gradient, beta] = dx[1].into();
                    cpu::sparse_product(back, cpu::in_order_of(back, values), dy, beta, gradient);
                  }
                });
}

Tensor sparse_matmul_rows(const SparseMatrix& a, const Tensor& x, std::span<const std::int32_t> rows, bool transpose) {
  const char* op = "sparse_matmul_rows";
  check_sides(op, a, x, transpose);
  const auto& half = half_of(a, transpose);
  std::vector<std::int32_t> place = places(op, rows, half.lines());
  Tensor y({static_cast<std::int64_t>(rows.size()), x.columns()}, x.dtype());
  cpu::sparse_product_rows(half, x, rows, y);
  if (!recording({&x})) return y;
  return record(op, y, {&x}, [a, transpose, place = std::move(place)](const Tensor& dy, Grads& dx) {
    auto [gradient, beta] = dx[0].into();
    cpu::sparse_product_placed(half_of(a, !transpose), dy, {}, place, beta, gradient);
  });
}

Tensor sparse_matmul_block(const SparseMatrix& a, const Tensor& x, std::span<const std::int32_t> rows,
                           std::span<const std::int32_t> columns, bool transpose) {
  const char* op = "sparse_matmul_block";
  check(static_cast<bool>(a), op, ": there is no matrix");
  check_present(op, "x", x);
  require_cpu_kernel(op, x.device());
  check(x.shape().rank() == 2 && x.rows() == static_cast<std::int64_t>(columns.size()), op, ": x ", x.shape().text(),
        " for ", columns.size(), " columns");
  const auto& half = half_of(a, transpose);
  std::vector<std::int32_t> row_place = places(op, rows, half.lines());
  const std::vector<std::int32_t> column_place = places(op, columns, half_of(a, !transpose).lines());
  Tensor y({static_cast<std::int64_t>(rows.size()), x.columns()}, x.dtype());
  cpu::sparse_product_placed(half, x, rows, column_place, 0.0, y);
  if (!recording({&x})) return y;
  return record(op, y, {&x},
                [a, transpose, row_place = std::move(row_place),
                 columns = std::vector<std::int32_t>(columns.begin(), columns.end())](const Tensor& dy, Grads& dx) {
                  auto [gradient, beta] = dx[0].into();
                  cpu::sparse_product_placed(half_of(a, !transpose), dy, columns, row_place, beta, gradient);
                });
}

}  // namespace tessera
