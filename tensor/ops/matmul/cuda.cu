#include "tensor/core/dispatch.h"
#include "tensor/cuda/stream.cuh"
#include "tensor/ops/matmul/matmul.h"

namespace tessera::cuda {

void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, double beta, Tensor& y) {
  dispatch_float("matmul", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const BlasShape shape{transpose_a, transpose_b, y.dim(0), y.dim(1), a.dim(transpose_a ? 0 : 1)};
    blas_gemm(y.device(), shape, a.data<T>(), b.data<T>(), beta, y.data<T>());
  });
}

}  // namespace tessera::cuda
