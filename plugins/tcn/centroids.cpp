#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/nn/linalg.h"
#include "plugins/tcn/tower.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {

Initializer from_token_vectors(const Catalog& catalog, int width, double deviation) {
  const Tensor vectors = catalog.token_vectors();
  std::vector<std::int32_t> items(static_cast<std::size_t>(catalog.items()));
  std::iota(items.begin(), items.end(), 0);
  const auto tokens = catalog.tokens_of(items);
  const EigenSystem system = symmetric_eigen(moments(embedding_sum(vectors, tokens, catalog.levels())).covariance);
  const std::int64_t in = vectors.columns(), kept = std::min<std::int64_t>(width, in);
  Tensor directions({in, kept});
  for (std::int64_t i = 0; i < in; ++i)
    for (std::int64_t j = 0; j < kept; ++j)
      directions.data<float>()[i * kept + j] = static_cast<float>(system.vectors.data<double>()[i * in + j]);
  double variance = 0.0;  // of an item's sum, a column
  for (std::int64_t j = 0; j < kept; ++j)
    variance += std::max(0.0, system.values.data<double>()[j]) / static_cast<double>(kept);
  const double root = std::sqrt(static_cast<double>(catalog.levels()));
  const float factor = variance > 0.0 ? static_cast<float>(deviation * root / std::sqrt(variance)) : 0.0f;
  const Tensor projected = matmul(vectors, directions);
  return [projected, factor, deviation](Tensor& x, std::uint64_t seed, std::uint64_t stream) {
    fill_normal(x, 0.0, deviation, seed, stream);
    const std::int64_t columns = x.columns(), own = projected.columns();
    for (std::int64_t i = 0; i < x.rows(); ++i) {
      const float* from = projected.data<float>() + i * own;
      if (std::all_of(from, from + own, [](float value) { return value == 0.0f; })) continue;
      for (std::int64_t j = 0; j < own; ++j) x.data<float>()[i * columns + j] = factor * from[j];
    }
  };
}

}  // namespace tessera
