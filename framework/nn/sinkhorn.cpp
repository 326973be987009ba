#include "framework/nn/sinkhorn.h"

#include <algorithm>
#include <cmath>

#include "tensor/core/parallel.h"

namespace tessera {
namespace {

constexpr std::int64_t kGrain = 128;

}  // namespace

std::vector<std::int32_t> sinkhorn_codes(const Tensor& distances, double epsilon, int rounds) {
  check(distances.shape().rank() == 2 && distances.columns() >= 1, "sinkhorn: distances ", distances.shape().text(),
        ", expected (N, K)");
  check(epsilon > 0.0, "sinkhorn: epsilon is ", epsilon, ", expected more than 0");
  const std::int64_t rows = distances.rows(), codes = distances.columns();
  if (rows == 0) return {};
  const float* d = distances.data<float>();
  const auto [low, high] = std::minmax_element(d, d + rows * codes);
  const double scale = -1.0 / (epsilon * (0.5 * (static_cast<double>(*high) - *low) + 1e-5));

  // Each row starts from its own least distance: a factor that the first row scaling would remove, and no row
  // underflows.
  std::vector<double> kernel(static_cast<std::size_t>(rows * codes));
  std::vector<double> row_scale(static_cast<std::size_t>(rows)), column_scale(static_cast<std::size_t>(codes), 1.0);
  parallel_rows(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float* from = d + i * codes;
      const double least = *std::min_element(from, from + codes);
      for (std::int64_t k = 0; k < codes; ++k)
        kernel[static_cast<std::size_t>(i * codes + k)] = std::exp(scale * (from[k] - least));
    }
  });
  const std::int64_t tiles = (rows + kGrain - 1) / kGrain;
  std::vector<double> partial(static_cast<std::size_t>(tiles * codes));
  const double per_row = 1.0 / static_cast<double>(rows), per_code = 1.0 / static_cast<double>(codes);
  for (int round = 0; round < rounds; ++round) {
    parallel_for(tiles, [&](std::int64_t tile) {
      double* sums = partial.data() + tile * codes;
      std::fill_n(sums, codes, 0.0);
      for (std::int64_t i = tile * kGrain; i < std::min(rows, (tile + 1) * kGrain); ++i) {
        const double* q = kernel.data() + i * codes;
        double sum = 0.0;
        for (std::int64_t k = 0; k < codes; ++k) sum += q[k] * column_scale[static_cast<std::size_t>(k)];
        const double u = row_scale[static_cast<std::size_t>(i)] = sum > 0.0 ? per_row / sum : per_row;
        for (std::int64_t k = 0; k < codes; ++k) sums[k] += u * q[k];
      }
    });
    for (std::int64_t k = 0; k < codes; ++k) {
      double sum = 0.0;
      for (std::int64_t tile = 0; tile < tiles; ++tile) sum += partial[static_cast<std::size_t>(tile * codes + k)];
      if (sum > 1e-300) column_scale[static_cast<std::size_t>(k)] = per_code / sum;  // else no row is near: as it was
    }
  }
  std::vector<std::int32_t> code(static_cast<std::size_t>(rows));
  parallel_rows(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const double* q = kernel.data() + i * codes;
      std::int64_t best = 0;
      for (std::int64_t k = 1; k < codes; ++k)
        if (q[k] * column_scale[static_cast<std::size_t>(k)] > q[best] * column_scale[static_cast<std::size_t>(best)])
          best = k;
      code[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(best);
    }
  });
  return code;
}

}  // namespace tessera
