#include "tensor/ops/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

Tensor vec(std::vector<double> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return Tensor::from<double>(values, {n});
}

// Normal numbers that keep away from the kink of relu at 0.
Tensor away_from_zero(const Shape& shape, std::uint64_t seed) {
  Tensor x = random_f64(shape, seed);
  for (double& value : x.values<double>()) value += value < 0 ? -0.1 : 0.1;
  return x;
}

Tensor positive(const Shape& shape, std::uint64_t seed) {
  Tensor x = random_f64(shape, seed);
  for (double& value : x.values<double>()) value = std::abs(value) + 0.3;
  return x;
}

}  // namespace

TEST(Elementwise, BinaryGoldenValues) {
  const Tensor a = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}), b = Tensor::from<float>({10, 20, 30}, {3});
  EXPECT_EQ(add(a, b).values<float>()[5], 36.0f);
  EXPECT_EQ(subtract(a, b).values<float>()[3], -6.0f);
  EXPECT_EQ(multiply(a, b).values<float>()[4], 100.0f);
  EXPECT_EQ(multiply(a, a).values<float>()[4], 25.0f);
  EXPECT_EQ(scale(a, -0.5).values<float>()[3], -2.0f);
  EXPECT_EQ(scale_rows(a, Tensor::from<float>({2, -1}, {2})).values<float>()[3], -4.0f);
}

TEST(Elementwise, UnaryGoldenValues) {  // closed forms at -2 and 0.5
  const Tensor x = vec({-2, 0.5});
  const auto expect = [&](const Tensor& y, double first, double second) {
    EXPECT_NEAR(y.values<double>()[0], first, 1e-15);
    EXPECT_NEAR(y.values<double>()[1], second, 1e-15);
  };
  expect(activate(x, Activation::relu), 0, 0.5);
  expect(activate(x, Activation::leaky_relu), -0.02, 0.5);
  expect(activate(x, Activation::gelu), -0.04550026389635842, 0.34573123063700656);
  expect(activate(x, Activation::silu), -0.2384058440442351, 0.3112296656009273);
  expect(activate(x, Activation::sigmoid), 0.11920292202211755, 0.6224593312018546);
  expect(activate(x, Activation::tanh), -0.9640275800758169, 0.46211715726000975);
  expect(softplus(x), 0.1269280110429726, 0.9740769841801067);
  expect(exp(x), 0.1353352832366127, 1.6487212707001282);
  expect(square(x), 4, 0.25);
  expect(log(vec({2, 0.5})), 0.6931471805599453, -0.6931471805599453);
}

TEST(Elementwise, ExtremesStayFinite) {
  const Tensor x = Tensor::from<float>({-1e4f, -90, 90, 1e4f}, {4});
  for (const auto f : {Activation::gelu, Activation::silu, Activation::sigmoid, Activation::tanh})
    for (const float y : activate(x, f).values<float>()) EXPECT_TRUE(std::isfinite(y));
  const Tensor y = softplus(x);
  EXPECT_EQ(y.values<float>()[0], 0.0f);
  EXPECT_EQ(y.values<float>()[3], 1e4f);
}

TEST(Elementwise, NoActivationIsTheSameHandle) {
  const Tensor x = vec({1});
  EXPECT_EQ(activate(x, Activation::none).raw(), x.raw());
}

TEST(Elementwise, SingleAndDoubleAgree) {
  const Tensor x = random_f64({37, 19}, 5), narrow = x.to(DType::f32);
  for (const auto f : {Activation::relu, Activation::gelu, Activation::silu, Activation::sigmoid, Activation::tanh,
                       Activation::leaky_relu}) {
    const Tensor y = activate(x, f), z = activate(narrow, f);
    for (std::int64_t i = 0; i < x.numel(); ++i) EXPECT_NEAR(z.data<float>()[i], y.data<double>()[i], 1e-6);
  }
}

TEST(ElementwiseGrad, Binary) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{3, 1}, Shape{5}, Shape{2, 3, 11}}) {
    const std::vector<Tensor> same = {random_f64(shape, 1), random_f64(shape, 2)};
    const std::vector<Tensor> row = {random_f64(shape, 1), random_f64({shape.columns()}, 2)};
    for (const auto& inputs : {same, row}) {
      EXPECT_LT(gradcheck([](const auto& x) { return add(x[0], x[1]); }, inputs), 1e-8);
      EXPECT_LT(gradcheck([](const auto& x) { return subtract(x[0], x[1]); }, inputs), 1e-8);
      EXPECT_LT(gradcheck([](const auto& x) { return multiply(x[0], x[1]); }, inputs), 1e-8);
    }
    EXPECT_LT(gradcheck([](const auto& x) { return multiply(x[0], x[0]); }, {random_f64(shape, 3)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return scale(x[0], -2.5); }, {random_f64(shape, 3)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return scale_rows(x[0], x[1]); },
                        {random_f64(shape, 3), random_f64({shape.rows()}, 4)}),
              1e-8);
  }
}

TEST(ElementwiseGrad, Unary) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{13}}) {
    for (const auto f : {Activation::none, Activation::relu, Activation::gelu, Activation::silu, Activation::sigmoid,
                         Activation::tanh, Activation::leaky_relu})
      EXPECT_LT(gradcheck([f](const auto& x) { return scale(activate(x[0], f), 1.5); }, {away_from_zero(shape, 1)}),
                1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return softplus(x[0]); }, {random_f64(shape, 2)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return exp(x[0]); }, {random_f64(shape, 3)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return log(x[0]); }, {positive(shape, 4)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return square(x[0]); }, {random_f64(shape, 5)}), 1e-8);
  }
}

TEST(Elementwise, SameBitsForAnyThreads) {
  const Tensor x = random_f64({517, 129}, 1).to(DType::f32), b = random_f64({129}, 2).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return activate(add(x, b), Activation::gelu); }));
  EXPECT_TRUE(same_bits([&] { return softplus(multiply(x, x)); }));
}

TEST(Elementwise, Refusals) {
  const Tensor a({2, 3});
  EXPECT_EQ(message_of([&] { add(a, Tensor({4})); }), "add: a (2, 3), b (4): b must have a's shape or be (3)");
  EXPECT_EQ(message_of([&] {
              multiply(a, Tensor({2, 3}, DType::f64));
            }),
            "multiply: a is f32 on cpu, b is f64 on cpu; expected one type and one device");
  EXPECT_EQ(message_of([&] { subtract(a, {}); }), "subtract: b is empty");
  EXPECT_EQ(message_of([&] { scale_rows(a, Tensor({3})); }), "scale_rows: x (2, 3) has 2 rows, s (3)");
  EXPECT_EQ(message_of([&] { exp(Tensor({2}, DType::i32)); }), "elementwise: type i32, expected f32 or f64");
}

}  // namespace tessera
