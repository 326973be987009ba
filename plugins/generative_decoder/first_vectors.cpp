#include "plugins/generative_decoder/first_vectors.h"

#include <cmath>
#include <vector>

namespace tessera {
namespace {

std::span<float> row(Tensor& x, std::int64_t r) {
  return {x.data<float>() + r * x.columns(), static_cast<std::size_t>(x.columns())};
}

}  // namespace

Tensor spread_vectors(const Tensor& vectors, double deviation) {
  Tensor x = vectors.to(DType::f32).clone();
  const std::vector<std::int32_t> one(static_cast<std::size_t>(x.rows()), 0);
  subtract_groups(x, one, group_means(x, one, 1));
  double squares = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) squares += static_cast<double>(x.data<float>()[i]) * x.data<float>()[i];
  const double factor = squares > 0.0 ? deviation / std::sqrt(squares / static_cast<double>(x.numel())) : 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] *= static_cast<float>(factor);
  return x;
}

Tensor group_means(const Tensor& x, std::span<const std::int32_t> group, std::int64_t rows) {
  Tensor sum = Tensor::zeros({rows, x.columns()}, DType::f64), out = Tensor::zeros({rows, x.columns()}, DType::f32);
  std::vector<std::int64_t> count(static_cast<std::size_t>(rows));
  const std::int64_t width = x.columns();
  for (std::size_t i = 0; i < group.size(); ++i) {
    ++count[static_cast<std::size_t>(group[i])];
    for (std::int64_t d = 0; d < width; ++d)
      sum.data<double>()[group[i] * width + d] += x.data<float>()[static_cast<std::int64_t>(i) * width + d];
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t d = 0; d < width && count[static_cast<std::size_t>(r)] > 0; ++d)
      out.data<float>()[r * width + d] = static_cast<float>(sum.data<double>()[r * width + d] /
                                                            static_cast<double>(count[static_cast<std::size_t>(r)]));
  return out;
}

void subtract_groups(Tensor& x, std::span<const std::int32_t> group, const Tensor& table) {
  Tensor means = table;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const std::span<float> to = row(x, static_cast<std::int64_t>(i)), from = row(means, group[i]);
    for (std::size_t d = 0; d < to.size(); ++d) to[d] -= from[d];
  }
}

}  // namespace tessera
