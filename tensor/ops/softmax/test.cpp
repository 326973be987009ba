#include "tensor/ops/softmax/softmax.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"

namespace tessera {

TEST(Softmax, GoldenValues) {
  const Tensor y = softmax(Tensor::from<double>({1, 2, 3}, {1, 3}));
  EXPECT_NEAR(y.values<double>()[0], 0.09003057317038046, 1e-15);
  EXPECT_NEAR(y.values<double>()[2], 0.6652409557748219, 1e-15);
}

TEST(Softmax, LargeInputsStayFinite) {
  const Tensor y = softmax(Tensor::from<float>({1e30f, -1e30f}, {1, 2}));
  EXPECT_EQ(y.values<float>()[0], 1.0f);
  EXPECT_EQ(y.values<float>()[1], 0.0f);
}

TEST(Softmax, LogOfSoftmax) {
  const Tensor x = random_f64({5, 13}, 3);
  const Tensor y = softmax(x), z = log_softmax(x);
  for (int i = 0; i < 65; ++i) EXPECT_NEAR(std::log(y.values<double>()[i]), z.values<double>()[i], 1e-13);
}

TEST(Softmax, SameBitsForAnyThreads) {
  const Tensor x = random_f64({517, 129}, 1).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return softmax(x); }));
  EXPECT_TRUE(same_bits([&] { return log_softmax(x); }));
}

TEST(SoftmaxGrad, Gradcheck) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{3, 1}, Shape{2, 3, 11}}) {
    EXPECT_LT(gradcheck([](const auto& x) { return softmax(x[0]); }, {random_f64(shape, 1)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return log_softmax(x[0]); }, {random_f64(shape, 2)}), 1e-8);
  }
}

TEST(Softmax, LogSumExpIsTheNormalizer) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{3, 37}, Shape{2, 256}}) {
    const Tensor x = random_f64(shape, 5, 3.0), y = log_sum_exp(x), z = log_softmax(x),
                 w = log_sum_exp(x.to(DType::f32));
    EXPECT_EQ(y.numel(), shape.rows());
    for (std::int64_t i = 0; i < x.numel(); ++i) {
      EXPECT_NEAR(x.values<double>()[i] - y.values<double>()[i / shape.columns()], z.values<double>()[i], 1e-13);
      EXPECT_NEAR(y.values<double>()[i / shape.columns()], w.values<float>()[i / shape.columns()], 2e-6);
    }
  }
}

TEST(SoftmaxGrad, LogSumExp) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{3, 37}})
    EXPECT_LT(gradcheck([](const auto& x) { return log_sum_exp(x[0]); }, {random_f64(shape, 1)}), 1e-8);
}

TEST(Softmax, RefusesNoClasses) {
  EXPECT_EQ(message_of([] { softmax(Tensor({3, 0})); }), "softmax: x (3, 0) has no classes");
}

}  // namespace tessera
