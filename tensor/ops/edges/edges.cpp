#include "tensor/ops/edges/edges.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {

Tensor edge_dot(const SparseMatrix& a, const Tensor& left, const Tensor& right) {
  const char* op = "edge_dot";
  check(static_cast<bool>(a), op, ": there is no matrix");
  check_agree(op, "left", left, "right", right);
  require_cpu_kernel(op, left.device());
  check(left.shape().rank() == 2 && right.shape().rank() == 2 && left.dim(0) == a.rows() &&
            right.dim(0) == a.columns() && left.dim(1) == right.dim(1),
        op, ": a (", a.rows(), ", ", a.columns(), "), left ", left.shape().text(), ", right ", right.shape().text(),
        ": expected a row of one width for each row and each column of a");
  Tensor y({a.entries()}, left.dtype());
  cpu::sparse_dots(a.by_rows(), left, right, 0.0, y);
  return record(op, y, {&left, &right}, [a, left = left.detach(), right = right.detach()](const Tensor& dy, Grads& dx) {
    if (dx[0]) {
      auto [gradient, beta] = dx[0].into();
      cpu::sparse_product(a.by_rows(), dy, right, beta, gradient);
    }
    if (dx[1]) {
      auto [gradient, beta] = dx[1].into();
      cpu::sparse_product(a.by_columns(), cpu::in_order_of(a.by_columns(), dy), left, beta, gradient);
    }
  });
}

Tensor edge_softmax(const SparseMatrix& a, const Tensor& x, bool by_columns) {
  const char* op = "edge_softmax";
  check(static_cast<bool>(a), op, ": there is no matrix");
  check_present(op, "x", x);
  require_cpu_kernel(op, x.device());
  check(x.numel() == a.entries(), op, ": x ", x.shape().text(), " for ", a.entries(), " entries");
  const auto half = [by_columns](const SparseMatrix& m) -> const SparseMatrix::Half& {
    return by_columns ? m.by_columns() : m.by_rows();
  };
  Tensor y(x.shape(), x.dtype());
  cpu::edge_softmax_forward(half(a), x, y);
  return record(op, y, {&x}, [a, half, y](const Tensor& dy, Grads& dx) {
    Tensor g(y.shape(), y.dtype());
    cpu::edge_softmax_backward(half(a), y, dy, g);
    dx[0].add(std::move(g));
  });
}

}  // namespace tessera
