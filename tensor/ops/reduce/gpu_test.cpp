#include <gtest/gtest.h>

#include <cstring>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {

TEST(ReduceGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const Shape& shape : {Shape{37, 11}, Shape{1, 1}, Shape{3, 1}, Shape{317, 131}}) {
    EXPECT_LT(gpucheck([](const auto& x) { return sum(x[0]); }, {random_f64(shape, 1)}), 1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return mean(x[0]); }, {random_f64(shape, 1)}), 1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return sum_columns(x[0]); }, {random_f64(shape, 2)}), 1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return row_sum(x[0]); }, {random_f64(shape, 3)}), 1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return row_dot(x[0], x[1]); }, {random_f64(shape, 4), random_f64(shape, 5)}),
              1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return mse(x[0], x[1]); }, {random_f64(shape, 4), random_f64(shape, 5)}),
              1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return bpr(x[0], x[1]); }, {random_f64(shape, 4), random_f64(shape, 5)}),
              1e-5);
  }
  const std::vector<std::int64_t> offset = {0, 0, 2, 3, 3, 5};
  EXPECT_LT(gpucheck([&](const auto& x) { return segment_sum(x[0], offset); }, {random_f64({5, 7}, 1)}), 1e-5);
  EXPECT_LT(gpucheck([&](const auto& x) { return segment_mean(x[0], offset); }, {random_f64({5, 7}, 1)}), 1e-5);
}

TEST(ReduceGpu, RepeatsItsBits) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const Tensor x = random_f64({2017, 129}, 1).to(DType::f32).to(Device::cuda());
  const auto bits = [&] { return std::pair{sum(x).item(), sum_columns(x).to(Device::cpu())}; };
  const auto first = bits(), second = bits();
  EXPECT_EQ(first.first, second.first);
  EXPECT_EQ(std::memcmp(first.second.raw(), second.second.raw(), first.second.bytes()), 0);
}

}  // namespace tessera
