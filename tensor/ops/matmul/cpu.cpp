#include "tensor/core/dispatch.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera::cpu {

void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, double beta, Tensor& y) {
  dispatch_float("matmul", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const GemmShape shape{transpose_a, transpose_b, y.dim(0), y.dim(1), a.dim(transpose_a ? 0 : 1)};
    gemm(shape, T(1), a.data<T>(), a.dim(1), b.data<T>(), b.dim(1), static_cast<T>(beta), y.data<T>(), y.dim(1));
  });
}

}  // namespace tessera::cpu
