#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/linear/linear.h"

namespace tessera {

TEST(LinearGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const Shape& shape : {Shape{67, 13}, Shape{1, 13}, Shape{3, 5, 13}}) {
    const std::vector<Tensor> inputs = {random_f64(shape, 1), random_f64({13, 29}, 2, 0.3), random_f64({29}, 3)};
    for (const auto f : {Activation::none, Activation::relu, Activation::gelu, Activation::silu, Activation::sigmoid,
                         Activation::tanh, Activation::leaky_relu}) {
      EXPECT_LT(gpucheck([f](const auto& x) { return linear(x[0], x[1], x[2], f); }, inputs), 1e-5);
      EXPECT_LT(gpucheck([f](const auto& x) { return linear(x[0], x[1], {}, f); }, {inputs[0], inputs[1]}), 1e-5);
    }
  }
  const auto twice = [](const auto& x) { return linear(linear(x[0], x[1], x[2]), x[1], x[2]); };  // gradients add up
  EXPECT_LT(gpucheck(twice, {random_f64({9, 13}, 1), random_f64({13, 13}, 2, 0.3), random_f64({13}, 3)}), 1e-5);
}

}  // namespace tessera
