#include "tensor/core/fast_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera::detail {

TEST(FastMath, ExpIsExactToRounding) {
  double worst = 0.0;
  for (float x = -87.3f; x < 88.7f; x += 0.00137f) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(fast_exp(x)) - exact) / exact);
  }
  EXPECT_LT(worst, 2e-7);
}

TEST(FastMath, ExpAtTheEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(fast_exp(0.0f), 1.0f);
  EXPECT_EQ(fast_exp(-1000.0f), 0.0f);
  EXPECT_EQ(fast_exp(-kInfinity), 0.0f);
  EXPECT_EQ(fast_exp(88.73f), kInfinity);
  EXPECT_EQ(fast_exp(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(fast_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(FastMath, NormalAndGates) {
  double phi = 0.0, density = 0.0, gate = 0.0;
  for (float x = -12.0f; x < 12.0f; x += 0.00091f) {
    const double exact = static_cast<double>(x);
    const Normal<float> found = fast_normal(x);
    phi = std::max(phi, std::abs(static_cast<double>(found.phi) - 0.5 * std::erfc(-exact / std::sqrt(2.0))));
    density = std::max(
        density, std::abs(static_cast<double>(found.density) - 0.3989422804014327 * std::exp(-0.5 * exact * exact)));
    gate = std::max(gate, std::abs(static_cast<double>(fast_tanh(x)) - std::tanh(exact)));
    gate = std::max(gate, std::abs(static_cast<double>(fast_sigmoid(x)) - 1.0 / (1.0 + std::exp(-exact))));
  }
  EXPECT_LT(phi, 2e-7);
  EXPECT_LT(density, 2e-7);
  EXPECT_LT(gate, 2e-7);
}

}  // namespace tessera::detail
