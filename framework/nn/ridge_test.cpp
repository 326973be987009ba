#include "framework/nn/ridge.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "framework/nn/code_usage.h"
#include "framework/nn/linalg.h"
#include "tensor/core/random.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

Tensor noise(Shape shape, std::uint64_t seed, double deviation = 1.0) {
  Tensor x(shape);
  fill_normal(x, 0.0, deviation, seed, 1);
  return x;
}

}  // namespace

TEST(Ridge, ExplainsWhatIsLinearAndNothingElse) {
  const Tensor x = noise({600, 5}, 1);
  Tensor y = matmul(x, noise({5, 3}, 2));
  const Tensor more = noise({600, 3}, 3, 0.5);
  EXPECT_GT(probe_r2(x, y), 0.999);
  double signal = 0.0;
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    signal += y.data<float>()[i] * y.data<float>()[i] / static_cast<double>(y.numel());
    y.data<float>()[i] += more.data<float>()[i] + 7.0f;  // a shift is not to be explained
  }
  EXPECT_NEAR(probe_r2(x, y), signal / (signal + 0.25), 0.05);
  EXPECT_LT(probe_r2(x, noise({600, 3}, 4)), 0.02);
  EXPECT_GT(probe_r2(x, noise({600, 3}, 4)), -0.1);
  EXPECT_EQ(probe_r2(noise({9, 2}, 1), noise({9, 2}, 2)), 0.0);
  EXPECT_EQ(probe_r2(x, Tensor::full({600, 1}, 2.0)), 0.0);
}

TEST(Ridge, ClassifiesFromCodes) {
  std::vector<std::int32_t> codes, label, coin;
  Random random(1, 2);
  for (int i = 0; i < 900; ++i) {
    const auto code = static_cast<std::int32_t>(random.below(12));
    codes.push_back(code);
    codes.push_back(i % 7 == 0 ? -1 : static_cast<std::int32_t>(random.below(3)));
    label.push_back(code % 4);
    coin.push_back(random.uniform() < 0.7 ? 0 : 1);
  }
  const std::vector<int> sizes{12, 3};
  const Tensor x = one_hot(codes, sizes);
  EXPECT_EQ(x.shape(), Shape({900, 15}));
  EXPECT_EQ(probe_accuracy(x, label, 4), 1.0);
  EXPECT_NEAR(probe_accuracy(x, coin, 2), probe_chance(coin, 2), 0.05);  // knows nothing: the frequent class
  EXPECT_NEAR(probe_chance(coin, 2), 0.7, 0.08);
}

TEST(Ridge, SolvesSymmetricSystems) {
  const Tensor x = noise({30, 4}, 5).to(DType::f64), b = noise({4, 2}, 6).to(DType::f64);
  const Tensor a = matmul(x, x, true, false), back = matmul(a, solve_symmetric(a, b));
  for (std::int64_t i = 0; i < b.numel(); ++i) EXPECT_NEAR(back.data<double>()[i], b.data<double>()[i], 1e-9);
  try {
    solve_symmetric(Tensor::from(std::vector<double>{1, 2, 2, 1}, {2, 2}), b.row_range(0, 2));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "solve_symmetric: a (2, 2) is not positive definite");
  }
}

TEST(CodeUsage, CountsBatchesWithoutUse) {
  QuantizerOptions options;
  options.levels = 2;
  options.codes = 3;
  options.width = 2;
  CodeUsage usage(options);
  ResidualQuantizer::Output output;
  output.codes = {0, 1, 2, 1};  // level 0 takes 0 and 2, level 1 takes 1
  for (int batch = 0; batch < 4; ++batch) usage.count(output);
  EXPECT_EQ(usage.alive(4), (std::vector<std::int64_t>{1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(usage.alive(5), (std::vector<std::int64_t>{1, 1, 1, 1, 1, 1}));
  usage.taken({1});
  EXPECT_EQ(usage.alive(4), (std::vector<std::int64_t>{1, 1, 1, 0, 1, 0}));
}

}  // namespace tessera
