#include "tensor/cuda/stream.cuh"

#include <memory>
#include <mutex>
#include <vector>

#include "tensor/core/device_copy.h"

namespace tessera::cuda {
namespace {

struct Context {
  cudaStream_t stream = nullptr;
  cublasHandle_t blas = nullptr;
  std::mutex blas_mutex;  // a handle serves one thread at a time
};

// Made at first use, never destroyed: tensors in static storage may outlive every destructor.
Context& context_of(Device device) {
  static std::mutex mutex;
  static auto& contexts = *new std::vector<std::unique_ptr<Context>>;
  std::lock_guard lock(mutex);
  const auto at = static_cast<std::size_t>(device.index);
  if (contexts.size() <= at) {
    const int count = cuda_device_count();
    check(device.index >= 0 && device.index < count, "cuda: tensor is on ", device.text(), ", but this machine has ",
          count, " CUDA devices");
    contexts.resize(static_cast<std::size_t>(count));
  }
  check_cuda(cudaSetDevice(device.index), "set device");
  if (!contexts[at]) {
    auto context = std::make_unique<Context>();
    check_cuda(cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking), "make a stream");
    contexts[at] = std::move(context);
  }
  return *contexts[at];
}

template <class F>
void with_blas(Device device, F&& f) {
  Context& context = context_of(device);
  std::lock_guard lock(context.blas_mutex);
  if (context.blas == nullptr) {
    check_blas(cublasCreate(&context.blas), "make a handle");
    check_blas(cublasSetStream(context.blas, context.stream), "set the stream");
    check_blas(cublasSetMathMode(context.blas, CUBLAS_DEFAULT_MATH), "set the precision");
  }
  f(context.blas);
}

// A row-major matrix is the transpose of the column-major one in the same memory: C^T = op(B)^T op(A)^T.
template <class T, class Gemm>
void row_major(Device device, const BlasShape& s, const T* a, const T* b, double beta, T* c, Gemm gemm) {
  if (s.m == 0 || s.n == 0) return;
  if (s.k == 0) {
    if (beta == 0.0) device_zero(c, static_cast<std::size_t>(s.m * s.n) * sizeof(T), device);
    return;
  }
  const T one = 1, keep = static_cast<T>(beta);
  with_blas(device, [&](cublasHandle_t blas) {
    const auto op = [](bool transpose) { return transpose ? CUBLAS_OP_T : CUBLAS_OP_N; };
    check_blas(gemm(blas, op(s.transpose_b), op(s.transpose_a), s.n, s.m, s.k, &one, b, s.transpose_b ? s.k : s.n, a,
                    s.transpose_a ? s.m : s.k, &keep, c, s.n),
               "gemm");
  });
}

}  // namespace

cudaStream_t stream_on(Device device) { return context_of(device).stream; }

void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw Error(str("cuda: ", what, ": ", cudaGetErrorString(status), " (error ", static_cast<int>(status), ")"));
}

void check_blas(cublasStatus_t status, const char* what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(str("cublas: ", what, ": ", cublasGetStatusString(status)));
}

void blas_gemm(Device device, const BlasShape& shape, const float* a, const float* b, double beta, float* c) {
  row_major(device, shape, a, b, beta, c, cublasSgemm_64);
}

void blas_gemm(Device device, const BlasShape& shape, const double* a, const double* b, double beta, double* c) {
  row_major(device, shape, a, b, beta, c, cublasDgemm_64);
}

}  // namespace tessera::cuda
