#include "tensor/ops/nearest_code/nearest_code.h"

#include <gtest/gtest.h>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

double naive_distance(const Tensor& x, const Tensor& c, std::int64_t row, std::int64_t code) {
  double sum = 0;
  for (std::int64_t i = 0; i < x.dim(1); ++i) {
    const double d = x.data<double>()[row * x.dim(1) + i] - c.data<double>()[code * x.dim(1) + i];
    sum += d * d;
  }
  return sum;
}

Tensor as_tensor(const std::vector<std::int32_t>& code) {
  return Tensor::from<std::int32_t>(code, {static_cast<std::int64_t>(code.size())});
}

}  // namespace

TEST(NearestCode, GoldenValues) {
  const Tensor x = Tensor::from<float>({0, 0, 9, 9, 4, 6}, {3, 2}), c = Tensor::from<float>({10, 10, 1, 0}, {2, 2});
  EXPECT_EQ(nearest_code(x, c), (std::vector<std::int32_t>{1, 0, 1}));
  const Tensor d = squared_distances(x, c);
  EXPECT_EQ(d.values<float>()[0], 200.0f);
  EXPECT_EQ(d.values<float>()[3], 145.0f);
}

TEST(NearestCode, EqualsTheNaiveSearch) {
  for (const auto& [rows, codes, width] :
       {std::array<std::int64_t, 3>{1, 1, 1}, {67, 3, 5}, {130, 600, 16}, {5, 257, 31}}) {
    const Tensor x = random_f64({rows, width}, 1), c = random_f64({codes, width}, 2);
    const auto code = nearest_code(x, c);
    const Tensor distance = squared_distances(x, c);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::int64_t best = 0;
      for (std::int64_t k = 0; k < codes; ++k) {
        EXPECT_NEAR(distance.data<double>()[row * codes + k], naive_distance(x, c, row, k), 1e-12);
        if (naive_distance(x, c, row, k) < naive_distance(x, c, row, best)) best = k;
      }
      EXPECT_EQ(code[static_cast<std::size_t>(row)], best);
    }
  }
}

TEST(NearestCode, TiesGoToTheSmallerCode) {
  Tensor c = random_f64({700, 4}, 1);
  for (const std::int64_t copy : {300, 310, 699}) c.row_range(copy, copy + 1).copy_from(c.row_range(5, 6));
  EXPECT_EQ(nearest_code(c.row_range(699, 700), c)[0], 5);
}

TEST(NearestCode, NoRows) { EXPECT_TRUE(nearest_code(Tensor({0, 3}), Tensor({2, 3})).empty()); }

TEST(NearestCode, DistancesAreNeverNegative) {
  const Tensor x = random_f64({50, 33}, 1).to(DType::f32), d = squared_distances(x, x);
  for (const float value : d.values<float>()) EXPECT_GE(value, 0.0f);
}

TEST(NearestCode, SameBitsForAnyThreads) {
  const Tensor x = random_f64({517, 33}, 1).to(DType::f32), c = random_f64({300, 33}, 2).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return as_tensor(nearest_code(x, c)); }));
  EXPECT_TRUE(same_bits([&] { return squared_distances(x, c); }));
}

TEST(NearestCode, Refusals) {
  EXPECT_EQ(message_of([] {
              nearest_code(Tensor({2, 3}), Tensor({4, 5}));
            }),
            "nearest_code: x (2, 3), codebook (4, 5), expected (N, D) and (K, D)");
  EXPECT_EQ(message_of([] {
              squared_distances(Tensor({2, 3}), Tensor({0, 3}));
            }),
            "squared_distances: codebook (0, 3) has 0 codes, expected 1 or more");
}

}  // namespace tessera
