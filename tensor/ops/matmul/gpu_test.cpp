#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {

TEST(MatmulGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      const Tensor a = random_f64(ta ? Shape{17, 31} : Shape{31, 17}, 1),
                   b = random_f64(tb ? Shape{23, 17} : Shape{17, 23}, 2);
      EXPECT_LT(gpucheck([&](const auto& x) { return matmul(x[0], x[1], ta, tb); }, {a, b}), 1e-5);
    }
  const auto square = [](const auto& x) { return matmul(x[0], x[0]); };  // both gradients meet in one buffer
  EXPECT_LT(gpucheck(square, {random_f64({19, 19}, 3)}), 1e-5);
}

TEST(MatmulGpu, NoInnerSizeGivesZeros) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const Tensor y = matmul(Tensor({2, 0}, DType::f32, Device::cuda()), Tensor({0, 3}, DType::f32, Device::cuda()));
  for (const float value : y.to(Device::cpu()).values<float>()) EXPECT_EQ(value, 0.0f);
}

}  // namespace tessera
