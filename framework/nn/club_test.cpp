#include "framework/nn/club.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

struct Pair {
  Tensor x, y;
};

// Standard normal numbers with correlation rho between x_d and y_d.
Pair correlated(std::int64_t rows, std::int64_t width, double rho, std::uint64_t seed) {
  Tensor x({rows, width}), y({rows, width});
  fill_normal(x, 0.0, 1.0, seed, 1);
  fill_normal(y, 0.0, 1.0, seed, 2);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    y.data<float>()[i] = static_cast<float>(rho * x.data<float>()[i] + std::sqrt(1.0 - rho * rho) * y.data<float>()[i]);
  return {x, y};
}

double estimate(double rho, std::int64_t width) {
  Club club(width, width, 32);
  club.initialize(1, "club/");
  for (int step = 0; step < 400; ++step) {
    const Pair pair = correlated(512, width, rho, static_cast<std::uint64_t>(10 + step));
    club.learn(pair.x, pair.y, 1, step < 300 ? 5e-3 : 5e-4);
  }
  const Pair held = correlated(8192, width, rho, 5);
  return club.bound(held.x, held.y).item();
}

void in_f64(Club& club) {
  for (auto& [name, parameter] : club.parameters()) parameter->value = parameter->value.to(DType::f64);
}

}  // namespace

TEST(Club, BoundsTheInformationOfCorrelatedGaussians) {
  constexpr std::int64_t kWidth = 4;
  for (const double rho : {0.3, 0.5, 0.7}) {                      // tanh holds variances 1 - rho^2 above 1/e
    const double exact = kWidth * rho * rho / (1.0 - rho * rho);  // of the bound, with the best theta
    const double information = -0.5 * kWidth * std::log(1.0 - rho * rho);
    const double found = estimate(rho, kWidth);
    EXPECT_NEAR(found, exact, 0.12 * exact + 0.03) << rho;
    EXPECT_GT(found, information) << rho;
  }
  EXPECT_LT(std::abs(estimate(0.0, kWidth)), 0.05);
}

TEST(Club, MeanFormIsTheMeanOverAllPairs) {
  Club club(3, 4, 5);
  club.initialize(2, "club/");
  in_f64(club);
  const Tensor x = random_f64({7, 3}, 1), y = random_f64({7, 4}, 2);
  double expected = 0.0;  // a shift by 0 .. 6 pairs each row once with each
  for (int shift = 0; shift < 7; ++shift) {
    std::vector<std::int32_t> permutation(7);
    for (int i = 0; i < 7; ++i) permutation[static_cast<std::size_t>(i)] = (i + shift) % 7;
    expected += club.bound(x, y, permutation).item() / 7.0;
  }
  EXPECT_NEAR(club.bound(x, y).item(), expected, 1e-12);
}

TEST(ClubGrad, BoundAndMisfit) {
  Club club(3, 4, 5);
  club.initialize(3, "club/");
  in_f64(club);
  const Tensor x = random_f64({6, 3}, 4), y = random_f64({6, 4}, 5);
  const std::vector<std::int32_t> permutation{3, 0, 5, 1, 2, 4};
  EXPECT_LT(gradcheck([&](const auto& v) { return club.bound(v[0], v[1]); }, {x, y}), 1e-7);
  EXPECT_LT(gradcheck([&](const auto& v) { return club.bound(v[0], v[1], permutation); }, {x, y}), 1e-7);
  EXPECT_LT(gradcheck([&](const auto& v) { return club.misfit(v[0], v[1]); }, {x, y}), 1e-7);
  EXPECT_LT(gradcheck([&](const auto& v) { return standardize_columns(v[0]); }, {x}), 1e-7);
  // theta is a constant of the bound, and learns from the misfit.
  for (auto& [name, parameter] : club.parameters()) parameter->gradient = {};
  Tape tape;
  const Tensor watched = tape.watch(x);
  tape.backward(club.bound(watched, y));
  for (auto& [name, parameter] : club.parameters()) EXPECT_FALSE(static_cast<bool>(parameter->gradient)) << name;
  EXPECT_TRUE(static_cast<bool>(tape.gradient(watched)));
}

TEST(ClubGrad, ThetasGradientEqualsFiniteDifferences) {
  Club club(3, 2, 4);
  club.initialize(4, "club/");
  in_f64(club);
  const Tensor x = random_f64({9, 3}, 6), y = random_f64({9, 2}, 7);
  {
    Tape tape;
    tape.backward(club.misfit(x, y));
  }
  for (auto& [name, parameter] : club.parameters()) {
    ASSERT_TRUE(static_cast<bool>(parameter->gradient)) << name;
    for (std::int64_t i = 0; i < parameter->value.numel(); ++i) {
      double& value = parameter->value.data<double>()[i];
      const double kept = value;
      const auto loss_at = [&](double moved) {
        value = moved;
        return club.misfit(x, y).item();
      };
      const double numeric = (loss_at(kept + 1e-6) - loss_at(kept - 1e-6)) / 2e-6;
      value = kept;
      EXPECT_NEAR(parameter->gradient.data<double>()[i], numeric, 1e-6) << name << " " << i;
    }
  }
}

TEST(Club, LearningInsideOfATapeLeavesItAlone) {
  Club club(4, 4, 8);
  club.initialize(5, "club/");
  const Pair pair = correlated(32, 4, 0.5, 1);
  Tape tape;
  const Tensor x = tape.watch(pair.x);
  const Tensor y = scale(x, 2.0);
  const std::size_t before = tape.size();
  const double first = club.learn(x, y, 1, 1e-2), last = club.learn(x, y, 50, 1e-2);
  EXPECT_EQ(tape.size(), before);
  EXPECT_LT(last, first);
}

TEST(Club, SameBitsForAnyNumberOfThreads) {
  const Pair pair = correlated(700, 6, 0.5, 3);
  double first = 0.0;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    Club club(6, 6, 16);
    club.initialize(6, "club/");
    club.learn(pair.x, pair.y, 5, 1e-2);
    const double found = club.bound(pair.x, pair.y).item();
    if (count == 1) first = found;
    EXPECT_EQ(std::memcmp(&found, &first, sizeof found), 0) << count;
  }
  set_threads(1);
}

TEST(StandardizeColumns, GivesMeanZeroAndVarianceOneWhateverTheScale) {
  const Tensor x = scale(random_f64({50, 3}, 8), 1e-2), y = standardize_columns(x);
  for (std::int64_t d = 0; d < 3; ++d) {
    double mean = 0.0, variance = 0.0;
    for (std::int64_t i = 0; i < 50; ++i) mean += y.data<double>()[i * 3 + d] / 50.0;
    for (std::int64_t i = 0; i < 50; ++i) variance += y.data<double>()[i * 3 + d] * y.data<double>()[i * 3 + d] / 50.0;
    EXPECT_NEAR(mean, 0.0, 1e-12);
    EXPECT_NEAR(variance, 1.0, 0.02);
  }
  const Tensor flat = standardize_columns(Tensor::full({4, 2}, 3.0));
  for (const float value : flat.values<float>()) EXPECT_EQ(value, 0.0f);
}

}  // namespace tessera
