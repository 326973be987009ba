// The caller cuts the work; Eigen's own threading would change its blocking with the number of threads.
#define EIGEN_DONT_PARALLELIZE
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // of the compiler's own AVX-512 header
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Core>

#include "tensor/gemm/backend.h"

namespace tessera::detail {
namespace {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using ConstMap = Eigen::Map<const Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>>;

template <class T, class A, class B, class C>
void multiply(const A& a, const B& b, T alpha, T beta, C& c) {
  // One form of product for all beta: Eigen writes zeros first too, and each form takes seconds to compile.
  if (beta == T(0)) c.setZero();
  else if (beta != T(1)) c *= beta;
  c.noalias() += alpha * (a * b);
}

template <class T>
void product(const GemmShape& s, T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
             std::int64_t ldc) {
  const ConstMap<T> x(a, s.transpose_a ? s.k : s.m, s.transpose_a ? s.m : s.k, Eigen::OuterStride<>(lda));
  const ConstMap<T> y(b, s.transpose_b ? s.n : s.k, s.transpose_b ? s.k : s.n, Eigen::OuterStride<>(ldb));
  Eigen::Map<Matrix<T>, Eigen::Unaligned, Eigen::OuterStride<>> z(c, s.m, s.n, Eigen::OuterStride<>(ldc));
  if (s.transpose_a && s.transpose_b) multiply(x.transpose(), y.transpose(), alpha, beta, z);
  else if (s.transpose_a) multiply(x.transpose(), y, alpha, beta, z);
  else if (s.transpose_b) multiply(x, y.transpose(), alpha, beta, z);
  else multiply(x, y, alpha, beta, z);
}

}  // namespace

void eigen_gemm(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
                float beta, float* c, std::int64_t ldc) {
  product(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

void eigen_gemm(const GemmShape& shape, double alpha, const double* a, std::int64_t lda, const double* b,
                std::int64_t ldb, double beta, double* c, std::int64_t ldc) {
  product(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace tessera::detail
