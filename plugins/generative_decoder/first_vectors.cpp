#include "plugins/generative_decoder/first_vectors.h"

#include <cmath>
#include <vector>

#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
Tensor spread_vectors(const Tensor& vectors, double deviation) {
  const std::vector<std::int32_t> one(static_cast<std::size_t>(vectors.rows()), 0);
  const Tensor all = vectors.to(DType::f32), x = subtract(all, gather_rows(group_means(all, one, 1), one));
  double squares = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) squares += static_cast<double>(x.data<float>()[i]) * x.data<float>()[i];
  const double factor = squares > 0.0 ? deviation / std::sqrt(squares / static_cast<double>(x.numel())) : 0.0;
  return scale(x, factor);
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

}  // namespace tessera
