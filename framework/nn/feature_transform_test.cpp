#include "framework/nn/feature_transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "framework/nn/linalg.h"
#include "framework/roles/testing.h"
#include "tensor/autograd/gradcheck.h"
#include "tensor/core/random.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

// Columns of very different scales, one of them constant.
Tensor uneven(std::int64_t rows, std::int64_t width, std::uint64_t seed) {
  Tensor x({rows, width});
  fill_normal(x, 3.0, 1.0, seed, 0);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < width; ++j) {
      float& value = x.data<float>()[i * width + j];
      value = j == 2 ? 5.0f : value * std::pow(2.0f, static_cast<float>(j));
    }
  return x;
}

FeatureTransform fitted(const Tensor& x, const std::string& normalize, std::int64_t components = 0,
                        double whiten = 0.0) {
  FeatureTransform transform;
  transform.fit(x, {normalize, components, whiten});
  return transform;
}

double mean_square(const Tensor& x) {
  double sum = 0.0;
  for (const float v : x.values<float>()) sum += static_cast<double>(v) * v;
  return sum / static_cast<double>(x.numel());
}

}  // namespace

TEST(Linalg, EigenvectorsRebuildTheMatrix) {
  const Tensor root = random_f64({6, 6}, 1), a = matmul(root, root, true, false);
  const EigenSystem system = symmetric_eigen(a);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) {
      double rebuilt = 0.0, product = 0.0;
      for (int k = 0; k < 6; ++k) {
        const double* v = system.vectors.data<double>();
        rebuilt += v[i * 6 + k] * system.values.data<double>()[k] * v[j * 6 + k];
        product += v[k * 6 + i] * v[k * 6 + j];
      }
      EXPECT_NEAR(rebuilt, a.data<double>()[i * 6 + j], 1e-12);
      EXPECT_NEAR(product, i == j, 1e-12);
    }
  for (int k = 1; k < 6; ++k) EXPECT_GE(system.values.data<double>()[k - 1], system.values.data<double>()[k]);
  EXPECT_THROW(symmetric_eigen(Tensor({2, 3}, DType::f64)), Error);
}

TEST(FeatureTransform, NumbersHaveMeanSquareOne) {
  const Tensor x = uneven(500, 6, 2);
  EXPECT_NEAR(mean_square(fitted(x, "center").apply(x)), 1.0, 1e-4);
  EXPECT_NEAR(mean_square(fitted(x, "standardize").apply(x)), 5.0 / 6.0, 1e-4);  // the constant column is zero
  EXPECT_NEAR(mean_square(fitted(x, "l2").apply(x)), 1.0, 1e-4);
  EXPECT_NEAR(mean_square(fitted(x, "pca", 3).apply(x)), 1.0, 1e-3);
  EXPECT_NEAR(mean_square(fitted(x, "pca", 3, 1.0).apply(x)), 1.0, 1e-3);
  const Tensor same = fitted(x, "none").apply(x);
  EXPECT_EQ(std::memcmp(same.raw(), x.raw(), x.bytes()), 0);
}

TEST(FeatureTransform, PrincipalDirectionsKeepDistancesOrWhiten) {
  const Tensor x = uneven(400, 5, 3);
  const auto distance = [](const Tensor& t, int a, int b) {
    double sum = 0.0;
    for (std::int64_t j = 0; j < t.columns(); ++j)
      sum += std::pow(t.data<float>()[a * t.columns() + j] - t.data<float>()[b * t.columns() + j], 2);
    return std::sqrt(sum);
  };
  const Tensor kept = fitted(x, "pca").apply(x);
  const double ratio = distance(kept, 0, 1) / distance(x, 0, 1);
  for (int i = 2; i < 50; ++i) EXPECT_NEAR(distance(kept, 0, i) / distance(x, 0, i), ratio, 1e-3 * ratio);
  const FeatureTransform white = fitted(x, "pca", 4, 1.0);
  EXPECT_EQ(white.output(), 4);
  const Moments m = moments(white.apply(x));
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j) EXPECT_NEAR(m.covariance.data<double>()[i * 4 + j], i == j, 1e-3);
}

TEST(FeatureTransform, IsSavedAndLoaded) {
  const Tensor x = uneven(60, 5, 4);
  for (const char* normalize : {"none", "center", "standardize", "l2", "pca"}) {
    FeatureTransform transform = fitted(x, normalize, 3, 0.5), loaded;
    MemoryState state;
    transform.visit(state, "text/");
    state.load(true);
    loaded.visit(state, "text/");
    const Tensor a = transform.apply(x), b = loaded.apply(x);
    ASSERT_EQ(a.shape(), b.shape());
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0) << normalize;
  }
}

TEST(FeatureTransform, ErrorsSayWhat) {
  const Tensor x = uneven(10, 4, 5);
  try {
    fitted(x, "standardize").apply(Tensor::zeros({2, 3}));
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "feature_transform: x (2, 3), expected width 4");
  }
}

}  // namespace tessera
