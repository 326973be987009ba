#include "tensor/ops/matmul/matmul.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"

namespace tessera {
namespace {

struct Sizes {
  std::int64_t m, n, k;
};

Sizes sizes_of(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  check(a.shape().rank() == 2 && b.shape().rank() == 2, "matmul: a ", a.shape().text(), ", b ", b.shape().text(),
        ": expected two matrices");
  check(a.dtype() == b.dtype(), "matmul: a is ", name_of(a.dtype()), ", b is ", name_of(b.dtype()),
        ": expected one type");
  check(a.device() == b.device(), "matmul: a is on ", a.device().text(), ", b is on ", b.device().text());
  const Sizes s{a.dim(transpose_a ? 1 : 0), b.dim(transpose_b ? 0 : 1), a.dim(transpose_a ? 0 : 1)};
  const std::int64_t other = b.dim(transpose_b ? 1 : 0);
  check(s.k == other, "matmul: inner sizes differ: a ", a.shape().text(), transpose_a ? " transposed" : "", ", b ",
        b.shape().text(), transpose_b ? " transposed" : "", ": ", s.k, " is not ", other);
  return s;
}

void product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, double beta, Tensor& y) {
  TESSERA_ON_DEVICE("matmul", y.device(), matmul(a, transpose_a, b, transpose_b, beta, y));
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b) {
  const Sizes s = sizes_of(a, b, transpose_a, transpose_b);
  Tensor y({s.m, s.n}, a.dtype(), a.device());
  product(a, transpose_a, b, transpose_b, 0.0, y);
  return record("matmul", y, {&a, &b},
                [a = a.detach(), b = b.detach(), transpose_a, transpose_b](const Tensor& dy, Grads& dx) {
                  if (dx[0]) {
                    auto [da, beta] = dx[0].into();
                    if (transpose_a) product(b, transpose_b, dy, true, beta, da);
                    else product(dy, false, b, !transpose_b, beta, da);
                  }
                  if (dx[1]) {
                    auto [db, beta] = dx[1].into();
                    if (transpose_b) product(dy, true, a, transpose_a, beta, db);
                    else product(a, !transpose_a, dy, false, beta, db);
                  }
                });
}

}  // namespace tessera
