#include "tensor/ops/dropout/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace

TEST(Dropout, InferenceModeReturnsTheHandle) {
  const Tensor x = Tensor::full({5}, 2.0);
  EXPECT_EQ(dropout(x, 0.5).raw(), x.raw());
  TrainingScope scope(1, 1);
  EXPECT_EQ(dropout(x, 0.0).raw(), x.raw());
  EXPECT_NE(dropout(x, 0.5).raw(), x.raw());
}

TEST(Dropout, KeepRateAndMean) {
  const Tensor x = Tensor::full({400000}, 1.0);
  for (const double p : {0.1, 0.5, 0.9}) {
    TrainingScope scope(3, 5);
    const Tensor y = dropout(x, p);
    double kept = 0, sum = 0;
    for (const float v : y.values<float>()) {
      kept += v != 0.0f;
      sum += v;
    }
    const double n = 400000, deviation = std::sqrt(n * p * (1 - p));
    EXPECT_NEAR(kept, n * (1 - p), 5 * deviation) << p;
    EXPECT_NEAR(sum / n, 1.0, 5 * deviation / n / (1 - p)) << p;
  }
}

// The bulk generator against the reference of tensor/core/random.h, beyond one chunk and with a tail.
TEST(Dropout, FollowsTheCounter) {
  const std::int64_t n = 1000;
  const Tensor x = Tensor::full({n}, 1.0, DType::f64);
  std::uint64_t stream;
  {
    TrainingScope scope(0x123456789abcdefull, 42);
    stream = scope.next_stream();
  }
  TrainingScope scope(0x123456789abcdefull, 42);
  const Tensor y = dropout(x, 0.25);
  for (std::int64_t i = 0; i < n; ++i) {
    const auto block = philox(0x123456789abcdefull, stream, static_cast<std::uint64_t>(i / 128 * 16 + i % 32 / 2));
    const std::uint32_t word = block[static_cast<std::size_t>(i / 32 % 4)];
    const std::uint32_t bits = i % 2 ? word >> 16 : word & 0xffff;
    ASSERT_EQ(y.values<double>()[static_cast<std::size_t>(i)], bits >= 16384 ? 4.0 / 3.0 : 0.0) << i;
  }
}

TEST(Dropout, PureFunctionOfSeedStepAndCall) {
  const Tensor x = Tensor::full({1000}, 1.0);
  const auto draw = [&](std::uint64_t seed, std::uint64_t step, int call) {
    TrainingScope scope(seed, step);
    Tensor y;
    for (int i = 0; i < call; ++i) y = dropout(x, 0.5);
    return y;
  };
  const Tensor y = draw(1, 2, 1);
  EXPECT_TRUE(same_bytes(y, draw(1, 2, 1)));
  EXPECT_FALSE(same_bytes(y, draw(2, 2, 1)));
  EXPECT_FALSE(same_bytes(y, draw(1, 3, 1)));
  EXPECT_FALSE(same_bytes(y, draw(1, 2, 2)));
}

TEST(Dropout, SameBytesForAnyNumberOfThreads) {
  Tensor x({200003}), r({200003}), first;
  fill_normal(x, 0, 1, 1, 1);
  fill_normal(r, 0, 1, 1, 2);
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    TrainingScope scope(9, 9);
    const Tensor y = add_dropout(x, r, 0.3);
    if (!first) first = y;
    EXPECT_TRUE(same_bytes(first, y)) << n << " threads";
  }
}

TEST(Dropout, AddDropoutIsItsTwoParts) {
  Tensor x({777}), r({777});
  fill_normal(x, 0, 1, 1, 1);
  fill_normal(r, 0, 1, 1, 2);
  TrainingScope one(1, 1);
  const Tensor y = add_dropout(x, r, 0.4);
  TrainingScope two(1, 1);
  const Tensor d = dropout(r, 0.4);
  for (std::size_t i = 0; i < 777; ++i) EXPECT_EQ(y.values<float>()[i], x.values<float>()[i] + d.values<float>()[i]);
  NoTape no_tape;
  const Tensor plain = add_dropout(x, r, 0.0);
  for (std::size_t i = 0; i < 777; ++i)
    EXPECT_EQ(plain.values<float>()[i], x.values<float>()[i] + r.values<float>()[i]);
}

TEST(DropoutGrad, Gradcheck) {
  const auto drop = [](const auto& x) {
    TrainingScope scope(5, 6);
    return dropout(x[0], 0.3);
  };
  const auto add = [](const auto& x) {
    TrainingScope scope(5, 6);
    return add_dropout(x[0], x[1], 0.3);
  };
  const auto add_plain = [](const auto& x) { return add_dropout(x[0], x[1], 0.3); };
  EXPECT_LT(gradcheck(drop, {random_f64({13, 17}, 1)}), 1e-8);
  EXPECT_LT(gradcheck(add, {random_f64({13, 17}, 1), random_f64({13, 17}, 2)}), 1e-8);
  EXPECT_LT(gradcheck(add_plain, {random_f64({3, 5}, 1), random_f64({3, 5}, 2)}), 1e-8);
  EXPECT_LT(gradcheck(
                [&](const auto& x) {
                  return add(std::vector<Tensor>{x[0], x[0]});
                },
                {random_f64({3, 5}, 1)}),
            1e-8);
}

TEST(Dropout, Refusals) {
  const Tensor x({2});
  try {
    dropout(x, 1.0);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "dropout: probability 1, expected 0 <= p < 1");
  }
  try {
    add_dropout(x, Tensor({3}), 0.1);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "add_dropout: x (2) f32, r (3) f32: expected the same shape and type");
  }
}

}  // namespace tessera
