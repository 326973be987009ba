#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/core/random.h"
#include "tensor/ops/dropout/dropout.h"

namespace tessera {

TEST(DropoutGpu, TheSameMaskAsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const Shape& shape : {Shape{1}, Shape{127}, Shape{128}, Shape{129}, Shape{313, 17}}) {
    const auto plain = [](const auto& x) {
      TrainingScope scope(3, 4);
      return dropout(x[0], 0.3);
    };
    const auto residual = [](const auto& x) {
      TrainingScope scope(3, 4);
      return add_dropout(x[0], x[1], 0.3);
    };
    EXPECT_LT(gpucheck(plain, {random_f64(shape, 1)}), 1e-6);
    EXPECT_LT(gpucheck(residual, {random_f64(shape, 1), random_f64(shape, 2)}), 1e-6);
    EXPECT_LT(gpucheck([](const auto& x) { return add_dropout(x[0], x[1], 0.3); },
                       {random_f64(shape, 1), random_f64(shape, 2)}),
              1e-6);
  }
}

}  // namespace tessera
