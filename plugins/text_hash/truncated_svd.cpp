#include "plugins/text_hash/truncated_svd.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"

namespace tessera::text_hash {
namespace {

constexpr std::int64_t kRowTile = 64;
constexpr std::int64_t kOversampling = 32;

SparseRows transposed(const SparseRows& a) {
  SparseRows out;
  out.columns = a.rows();
  out.offset.assign(static_cast<std::size_t>(a.columns) + 1, 0);
  for (const std::int32_t c : a.column) ++out.offset[static_cast<std::size_t>(c) + 1];
  std::partial_sum(out.offset.begin(), out.offset.end(), out.offset.begin());
  out.column.resize(a.column.size());
  out.value.resize(a.value.size());
  std::vector<std::int64_t> next = out.offset;
  for (std::int64_t r = 0; r < a.rows(); ++r)
    for (auto i = static_cast<std::size_t>(a.offset[static_cast<std::size_t>(r)]);
         i < static_cast<std::size_t>(a.offset[static_cast<std::size_t>(r) + 1]); ++i) {
      const auto to = static_cast<std::size_t>(next[static_cast<std::size_t>(a.column[i])]++);
      out.column[to] = static_cast<std::int32_t>(r);
      out.value[to] = a.value[i];
    }
  return out;
}

// x W with W's columns the eigenvectors of x^T x, largest first, scaled by 1 / sqrt(eigenvalue) and cut to `width`:
// orthonormal columns that span what x spans; zero columns where x has no more rank.
Tensor principal_columns(const Tensor& x, std::int64_t width) {
  const std::int64_t rows = x.dim(0), columns = x.dim(1);
  Tensor gram = Tensor::zeros({columns, columns});
  gemm({true, false, columns, columns, rows}, 1.0f, x.data<float>(), columns, x.data<float>(), columns, 0.0f,
       gram.data<float>(), columns);
  using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix symmetric = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
                               gram.data<float>(), columns, columns)
                               .cast<double>();
  const Eigen::SelfAdjointEigenSolver<Matrix> solver(symmetric);
  const double largest = solver.eigenvalues()(columns - 1);
  Tensor weights = Tensor::zeros({columns, width});
  for (std::int64_t k = 0; k < std::min(width, columns); ++k) {
    const double value = solver.eigenvalues()(columns - 1 - k);
    if (value <= 1e-6 * largest) break;
    const auto vector = solver.eigenvectors().col(columns - 1 - k);
    for (std::int64_t c = 0; c < columns; ++c)
      weights.data<float>()[c * width + k] = static_cast<float>(vector(c) / std::sqrt(value));
  }
  Tensor out = Tensor::zeros({rows, width});
  gemm({false, false, rows, width, columns}, 1.0f, x.data<float>(), columns, weights.data<float>(), width, 0.0f,
       out.data<float>(), width);
  return out;
}

// Twice, because the first pass in f32 leaves an error of about 1e-7 times the squared condition.
Tensor orthonormal(const Tensor& x) {
  const Tensor once = principal_columns(x, x.dim(1));
  return principal_columns(once, x.dim(1));
}

}  // namespace

Tensor times(const SparseRows& a, const Tensor& x) {
  const std::int64_t width = x.dim(1);
  Tensor y = Tensor::zeros({a.rows(), width});
  const float* from = x.data<float>();
  parallel_rows(a.rows(), kRowTile, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      float* to = y.data<float>() + r * width;
      for (auto i = static_cast<std::size_t>(a.offset[static_cast<std::size_t>(r)]);
           i < static_cast<std::size_t>(a.offset[static_cast<std::size_t>(r) + 1]); ++i) {
        const float value = a.value[i];
        const float* row = from + std::int64_t{a.column[i]} * width;
        for (std::int64_t d = 0; d < width; ++d) to[d] += value * row[d];
      }
    }
  });
  return y;
}

Tensor right_singular_vectors(const SparseRows& a, std::int64_t width, int iterations, std::uint64_t seed,
                              const std::function<void(double done)>& progress) {
  const SparseRows back = transposed(a);
  const std::int64_t sketch = std::min({width + kOversampling, a.rows(), a.columns});
  Tensor z({a.columns, sketch});
  fill_normal(z, 0.0, 1.0, seed, stream_of("text_hash/sketch"));
  for (int i = 0; i < iterations; ++i) {
    const Tensor q = orthonormal(times(a, z));
    z = times(back, q);
    if (i + 1 < iterations) z = orthonormal(z);
    progress(static_cast<double>(i + 1) / iterations);
  }
  return principal_columns(z, width);
}

}  // namespace tessera::text_hash
