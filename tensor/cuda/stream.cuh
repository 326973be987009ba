#pragma once

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "tensor/core/device.h"
#include "tensor/core/dtype.h"
#include "tensor/core/error.h"

namespace tessera::cuda {

// Everything on a device runs in its one stream, in the order in which the host asked for it. So the pool may hand a
// block out again as soon as it is freed, and only what the host reads waits. Thread-safe.
cudaStream_t stream_on(Device device);  // makes the device current on this thread

// Throws "cuda: launch: out of memory (error 2)" unless the status is success.
void check_cuda(cudaError_t status, const char* what);
void check_blas(cublasStatus_t status, const char* what);

// C = op(A) op(B) + beta C on row-major matrices: A (m, k) or, transposed, stored (k, m); lengths of rows as stored.
// cuBLAS in full f32 or f64 precision. beta = 0 never reads C.
struct BlasShape {
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
};
void blas_gemm(Device device, const BlasShape& shape, const float* a, const float* b, double beta, float* c);
void blas_gemm(Device device, const BlasShape& shape, const double* a, const double* b, double beta, double* c);

}  // namespace tessera::cuda
