#include "framework/nn/feature_transform.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include "framework/nn/linalg.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {
namespace {

constexpr double kFlat = 1e-12;  // a variance below this times the largest one is a constant column: it is left at zero

}  // namespace

void FeatureTransform::fit(const Tensor& x, const FeatureTransformOptions& options) {
  check(x.shape().rank() == 2 && x.rows() >= 1, "feature_transform: x ", x.shape().text(),
        ", expected (N, D) with rows");
  *this = {};
  input_ = output_ = x.columns();
  if (options.normalize == "none") return;
  if (options.normalize == "l2") {
    rows_to_unit_ = true;
    return;
  }
  const Moments m = moments(x);
  mean_ = m.mean.to(DType::f32);
  std::vector<double> variance(static_cast<std::size_t>(input_));
  for (std::int64_t j = 0; j < input_; ++j)
    variance[static_cast<std::size_t>(j)] = m.covariance.data<double>()[j * input_ + j];
  if (options.normalize == "pca") {
    fit_directions(m.covariance, options);
    return;
  }
  check(options.normalize == "standardize" || options.normalize == "center", "feature_transform: normalize is '",
        options.normalize, "', expected none, center, standardize, l2 or pca");
  const double top = *std::max_element(variance.begin(), variance.end());
  double mean_variance = 0.0;
  for (const double v : variance) mean_variance += v / static_cast<double>(input_);
  scale_ = Tensor({input_});
  for (std::int64_t j = 0; j < input_; ++j) {
    const double v = options.normalize == "center" ? mean_variance : variance[static_cast<std::size_t>(j)];
    scale_.data<float>()[j] = v > kFlat * top ? static_cast<float>(1.0 / std::sqrt(v)) : 0.0f;
  }
}

void FeatureTransform::fit_directions(const Tensor& covariance, const FeatureTransformOptions& options) {
  const EigenSystem system = symmetric_eigen(covariance);
  output_ = options.components > 0 ? std::min(options.components, input_) : input_;
  const double* values = system.values.data<double>();
  std::vector<double> factor(static_cast<std::size_t>(output_), 0.0);
  double total = 0.0;
  for (std::int64_t j = 0; j < output_; ++j) {
    if (!(values[j] > kFlat * values[0])) continue;
    factor[static_cast<std::size_t>(j)] = std::pow(values[j], -0.5 * options.whiten);
    total += std::pow(values[j], 1.0 - options.whiten);
  }
  const double unit = total > 0.0 ? std::sqrt(static_cast<double>(output_) / total) : 0.0;
  directions_ = Tensor({input_, output_});
  for (std::int64_t i = 0; i < input_; ++i)
    for (std::int64_t j = 0; j < output_; ++j)
      directions_.data<float>()[i * output_ + j] = static_cast<float>(system.vectors.data<double>()[i * input_ + j] *
                                                                      factor[static_cast<std::size_t>(j)] * unit);
}

Tensor FeatureTransform::apply(const Tensor& x) const {
  check(x.shape().rank() == 2 && x.columns() == input_, "feature_transform: x ", x.shape().text(), ", expected width ",
        input_);
  if (rows_to_unit_) {
    Tensor y = l2_normalize(x.detach());
    const float root = std::sqrt(static_cast<float>(input_));
    for (float& value : y.values<float>()) value *= root;
    return y;
  }
  if (!mean_) return x.detach();
  Tensor y = x.clone();
  parallel_rows(y.rows(), 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j < input_; ++j) {
        float& value = y.data<float>()[i * input_ + j];
        value = (value - mean_.data<float>()[j]) * (scale_ ? scale_.data<float>()[j] : 1.0f);
      }
  });
  return directions_ ? matmul(y, directions_) : y;
}

Tensor FeatureTransform::recorded(const Tensor& x) const {
  if (rows_to_unit_) return scale(l2_normalize(x), std::sqrt(static_cast<double>(input_)));
  if (!mean_) return x;
  Tensor y = add(x, scale(mean_, -1.0));
  if (scale_) y = multiply(y, scale_);
  return directions_ ? matmul(y, directions_) : y;
}

void FeatureTransform::visit(StateVisitor& state, const std::string& prefix) {
  std::string kind = str(input_, " ", output_, " ",
                         rows_to_unit_ ? "l2"
                         : directions_ ? "pca"
                         : mean_       ? "scale"
                                       : "none");
  state.text(prefix + "kind", kind);
  if (state.loading()) {
    std::istringstream in(kind);
    in >> input_ >> output_ >> kind;
    check(!in.fail(), "feature_transform: '", prefix, "kind' is damaged");
    rows_to_unit_ = kind == "l2";
  } else {
    kind = kind.substr(kind.rfind(' ') + 1);
  }
  if (kind == "pca" || kind == "scale") state.tensor(prefix + "mean", mean_);
  if (kind == "scale") state.tensor(prefix + "scale", scale_);
  if (kind == "pca") state.tensor(prefix + "directions", directions_);
}

}  // namespace tessera
