#include <gtest/gtest.h>

#include <cmath>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/accumulate/accumulate.h"
#include "tensor/ops/elementwise/elementwise.h"

namespace tessera {

TEST(ElementwiseGpu, BinaryEqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const Shape& shape : {Shape{37, 11}, Shape{1, 1}, Shape{2, 3, 33}}) {
    const std::vector<Tensor> same = {random_f64(shape, 1), random_f64(shape, 2)};
    const std::vector<Tensor> row = {random_f64(shape, 1), random_f64({shape.columns()}, 2)};
    for (const auto& inputs : {same, row}) {
      EXPECT_LT(gpucheck([](const auto& x) { return add(x[0], x[1]); }, inputs), 1e-5);
      EXPECT_LT(gpucheck([](const auto& x) { return subtract(x[0], x[1]); }, inputs), 1e-5);
      EXPECT_LT(gpucheck([](const auto& x) { return multiply(x[0], x[1]); }, inputs), 1e-5);
    }
    EXPECT_LT(gpucheck([](const auto& x) { return multiply(scale(x[0], 3), x[0]); }, {same[0]}), 1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return scale_rows(x[0], x[1]); }, {same[0], random_f64({shape.rows()}, 4)}),
              1e-5);
  }
}

TEST(ElementwiseGpu, UnaryEqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const Tensor x = random_f64({37, 11}, 1);
  for (const auto f : {Activation::relu, Activation::gelu, Activation::silu, Activation::sigmoid, Activation::tanh})
    EXPECT_LT(gpucheck([f](const auto& v) { return activate(v[0], f); }, {x}), 1e-5);
  EXPECT_LT(gpucheck([](const auto& v) { return softplus(v[0]); }, {x}), 1e-5);
  EXPECT_LT(gpucheck([](const auto& v) { return log(exp(v[0])); }, {x}), 1e-5);
  EXPECT_LT(gpucheck([](const auto& v) { return square(v[0]); }, {x}), 1e-5);
}

TEST(AccumulateGpu, AddsInPlace) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  Tensor y = Tensor::from<float>({1, 2, 3}, {3}).to(Device::cuda());
  accumulate(y, Tensor::from<float>({10, 20, 30}, {3}).to(Device::cuda()));
  EXPECT_EQ(y.to(Device::cpu()).values<float>()[2], 33.0f);
}

}  // namespace tessera
