// In the calling thread: Eigen's own threading would change its blocking with the number of threads.
#define EIGEN_DONT_PARALLELIZE
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // both of the compiler's own AVX-512 header
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include "framework/nn/linalg.h"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "tensor/ops/matmul/matmul.h"

namespace tessera {

EigenSystem symmetric_eigen(const Tensor& matrix) {
  check(matrix.shape().rank() == 2 && matrix.dim(0) == matrix.dim(1), "symmetric_eigen: matrix ", matrix.shape().text(),
        ", expected as many rows as columns");
  for (const double value : matrix.values<double>())
    check(std::isfinite(value), "symmetric_eigen: the matrix holds ", value);
  const std::int64_t n = matrix.dim(0);
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(Eigen::Map<const Matrix>(matrix.data<double>(), n, n));
  check(solver.info() == Eigen::Success, "symmetric_eigen: no convergence for a matrix ", matrix.shape().text());
  EigenSystem out{Tensor({n}, DType::f64), Tensor({n, n}, DType::f64)};
  for (std::int64_t j = 0; j < n; ++j) {  // Eigen's order rises
    const auto vector = solver.eigenvectors().col(n - 1 - j);
    Eigen::Index top = 0;
    vector.cwiseAbs().maxCoeff(&top);
    const double sign = vector(top) < 0.0 ? -1.0 : 1.0;
    out.values.data<double>()[j] = solver.eigenvalues()(n - 1 - j);
    for (std::int64_t i = 0; i < n; ++i) out.vectors.data<double>()[i * n + j] = sign * vector(i);
  }
  return out;
}

Tensor solve_symmetric(const Tensor& a, const Tensor& b) {
  check(a.shape().rank() == 2 && a.dim(0) == a.dim(1) && b.shape().rank() == 2 && b.dim(0) == a.dim(0),
        "solve_symmetric: a ", a.shape().text(), " and b ", b.shape().text(), ", expected (D, D) and (D, N)");
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::LLT<Matrix> factor(Eigen::Map<const Matrix>(a.data<double>(), a.dim(0), a.dim(1)));
  check(factor.info() == Eigen::Success, "solve_symmetric: a ", a.shape().text(), " is not positive definite");
  Tensor x(b.shape(), DType::f64);
  Eigen::Map<Matrix>(x.data<double>(), b.dim(0), b.dim(1)) =
      factor.solve(Eigen::Map<const Matrix>(b.data<double>(), b.dim(0), b.dim(1)));
  return x;
}

Moments moments(const Tensor& x) {
  const std::int64_t rows = x.rows(), width = x.columns();
  check(rows >= 1, "moments: x ", x.shape().text(), " has no rows");
  Moments out{Tensor::zeros({width}, DType::f64), {}};
  double* mean = out.mean.data<double>();
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < width; ++j) mean[j] += x.data<float>()[i * width + j];
  for (std::int64_t j = 0; j < width; ++j) mean[j] /= static_cast<double>(rows);
  Tensor centred({rows, width}, DType::f64);
  const double root = 1.0 / std::sqrt(static_cast<double>(rows));
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      centred.data<double>()[i * width + j] = root * (x.data<float>()[i * width + j] - mean[j]);
  out.covariance = matmul(centred, centred, true, false);
  return out;
}

}  // namespace tessera
