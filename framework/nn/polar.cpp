#include <algorithm>
#include <cmath>

#include "framework/nn/linalg.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

constexpr double kSmallest = 1e-4;  // singular values from here on converge fastest, smaller ones take more rounds
constexpr int kRounds = 60;

// x (a I + b x'x), with g = x'x, which is overwritten.
template <class T>
Tensor step(const Tensor& x, Tensor& g, double a, double b) {
  const std::int64_t n = x.rows();
  for (T& value : g.values<T>()) value = static_cast<T>(b * static_cast<double>(value));
  for (std::int64_t i = 0; i < n; ++i) g.data<T>()[i * n + i] += static_cast<T>(a);
  return matmul(x, g);
}

// The largest number of x'x - I.
template <class T>
double distance_from_identity(const Tensor& g) {
  double most = 0.0;
  const std::int64_t n = g.rows();
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      const double off = std::abs(static_cast<double>(g.data<T>()[i * n + j]) - (i == j ? 1.0 : 0.0));
      most = off > most || std::isnan(off) ? off : most;
    }
  return most;
}

}  // namespace

Tensor polar_factor(const Tensor& matrix) {
  check(matrix.shape().rank() == 2 && matrix.dim(0) == matrix.dim(1) && matrix.dim(0) >= 1, "polar_factor: matrix ",
        matrix.shape().text(), ", expected as many rows as columns");
  Tensor x = matrix.to(DType::f64).clone();
  double top = 0.0;
  for (const double value : x.values<double>()) {
    check(std::isfinite(value), "polar_factor: the matrix holds ", value);
    top = std::max(top, std::abs(value));
  }
  check(top > 0.0, "polar_factor: the matrix is zero");
  for (double& value : x.values<double>()) value /= top;
  // (sum of the fourth powers of the singular values)^(1/4) is at least the largest of them, and near it.
  x = x.to(DType::f32);
  Tensor g = matmul(x, x, true, false);
  double square = 0.0;
  for (const float value : g.values<float>()) square += static_cast<double>(value) * value;
  const double bound = 1.0001 * std::pow(square, 0.25);
  for (float& value : x.values<float>()) value = static_cast<float>(value / bound);
  for (float& value : g.values<float>()) value = static_cast<float>(value / (bound * bound));
  double least = kSmallest;
  int rounds = 0;
  for (; distance_from_identity<float>(g) > 1e-3; ++rounds) {
    check(rounds < kRounds, "polar_factor: no convergence in ", kRounds, " rounds, the matrix ", matrix.shape().text(),
          " is singular");
    // A cubic that takes both ends of [least, 1] to the same height, which becomes the next least.
    const double factor = std::sqrt(3.0 / (1.0 + least + least * least));
    x = step<float>(x, g, 1.5 * factor, -0.5 * factor * factor * factor);
    least = std::min(1.0, 0.5 * factor * least * (3.0 - factor * factor * least * least));
    g = matmul(x, x, true, false);
  }
  if (matrix.dtype() == DType::f32) return step<float>(x, g, 1.5, -0.5);
  x = x.to(DType::f64);
  for (int i = 0; i < 2; ++i) {  // each round squares what is missing
    g = matmul(x, x, true, false);
    x = step<double>(x, g, 1.5, -0.5);
  }
  return x;
}

}  // namespace tessera
