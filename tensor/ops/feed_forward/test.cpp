#include "tensor/ops/feed_forward/feed_forward.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

constexpr Activation kAll[] = {Activation::none, Activation::relu,    Activation::gelu,
                               Activation::silu, Activation::sigmoid, Activation::tanh};

Tensor composed(const std::vector<Tensor>& x, Activation activation) {
  return linear(linear(x[0], x[1], x[2], activation), x[3], x[4]);
}
Tensor fused(const std::vector<Tensor>& x, Activation activation) {
  return feed_forward(x[0], x[1], x[2], x[3], x[4], activation);
}

std::vector<Tensor> inputs(std::int64_t rows, std::int64_t in, std::int64_t middle, std::int64_t out) {
  return {random_f64({rows, in}, 1), random_f64({in, middle}, 2, 0.3), random_f64({middle}, 3),
          random_f64({middle, out}, 4, 0.3), random_f64({out}, 5)};
}

// Value and gradients.
template <class F>
std::vector<Tensor> run(const std::vector<Tensor>& x, Activation activation, F function) {
  Tape tape;
  std::vector<Tensor> watched, out;
  for (const Tensor& each : x) watched.push_back(tape.watch(each));
  const Tensor y = function(watched, activation);
  out.push_back(y);
  tape.backward(y, random_f64(y.shape(), 9).to(y.dtype()));
  for (const Tensor& each : watched) out.push_back(tape.gradient(each));
  return out;
}

double worst(const Tensor& found, const Tensor& expected) {
  const Tensor a = found.to(DType::f64);
  double error = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i)
    error = std::max(error, std::abs(a.data<double>()[i] - expected.data<double>()[i]) /
                                (1.0 + std::abs(expected.data<double>()[i])));
  return error;
}

}  // namespace

TEST(FeedForward, GoldenValue) {
  const auto one = [](double value) { return Tensor::full({1, 1}, value, DType::f64); };
  const Tensor y =
      feed_forward(one(1.0), one(1.5), Tensor::full({1}, -0.5, DType::f64), one(2.0), {}, Activation::gelu);
  EXPECT_NEAR(y.item(), 2 * 0.8413447460685429, 1e-15);  // 2 gelu(1)
}

// Few rows, and enough for the blocks of the forward and the parts of the backward pass.
TEST(FeedForward, EqualsComposed) {
  for (const auto& [rows, in, middle, out] : {std::array{7, 5, 11, 3}, std::array{1201, 8, 24, 12}})
    for (const Activation activation : kAll) {
      const auto x = inputs(rows, in, middle, out);
      const auto expected = run(x, activation, composed), found = run(x, activation, fused);
      std::vector<Tensor> single;
      for (const Tensor& each : x) single.push_back(each.to(DType::f32));
      const auto f32 = run(single, activation, fused);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        SCOPED_TRACE(testing::Message() << rows << " activation " << static_cast<int>(activation) << " result " << i);
        EXPECT_LT(worst(found[i], expected[i]), 1e-12);
        EXPECT_LT(worst(f32[i], expected[i]), 1e-4);
      }
      EXPECT_EQ(worst(fused(x, activation), found[0]), 0.0);
    }
}

TEST(FeedForwardGrad, Gradcheck) {
  for (const Activation activation : kAll)
    EXPECT_LT(gradcheck([&](const auto& x) { return fused(x, activation); }, inputs(4, 3, 7, 5)), 1e-7);
  const auto without_bias = [](const auto& x) { return feed_forward(x[0], x[1], {}, x[2], {}, Activation::silu); };
  EXPECT_LT(gradcheck(without_bias, {random_f64({2, 3, 5}, 1), random_f64({5, 2}, 2), random_f64({2, 4}, 3)}), 1e-7);
}

TEST(FeedForwardGrad, ContributionsAddUp) {
  const auto residual = [](const auto& x) {
    return feed_forward(fused(x, Activation::gelu), x[1], x[2], x[3], x[4], Activation::gelu);
  };
  EXPECT_LT(gradcheck(residual, inputs(450, 2, 3, 2)), 1e-7);
}

TEST(FeedForward, SameBitsForAnyNumberOfThreads) {
  std::vector<Tensor> x;
  for (const Tensor& each : inputs(3001, 32, 96, 24)) x.push_back(each.to(DType::f32));
  set_threads(1);
  const auto expected = run(x, Activation::gelu, fused);
  for (const int n : {2, 3}) {
    set_threads(n);
    const auto found = run(x, Activation::gelu, fused);
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_EQ(std::memcmp(found[i].raw(), expected[i].raw(), expected[i].bytes()), 0) << i;
  }
  set_threads(2);
}

TEST(FeedForward, SaysWhatDoesNotFit) {
  try {
    feed_forward(Tensor({2, 3}), Tensor({3, 8}), {}, Tensor({9, 3}), {}, Activation::gelu);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "feed_forward: w1 (3, 8), w2 (9, 3): 8 is not 9");
  }
  EXPECT_THROW(feed_forward(Tensor({2, 4}), Tensor({3, 8}), {}, Tensor({8, 3}), {}, Activation::gelu), Error);
  EXPECT_THROW(feed_forward(Tensor({2, 3}), Tensor({3, 8}), Tensor({3}), Tensor({8, 3}), {}, Activation::gelu), Error);
}

}  // namespace tessera
