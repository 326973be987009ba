#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/softmax/softmax.h"

namespace tessera {

TEST(SoftmaxGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const Shape& shape : {Shape{37, 11}, Shape{1, 1}, Shape{5, 1000}, Shape{2, 3, 33}}) {
    EXPECT_LT(gpucheck([](const auto& x) { return softmax(x[0]); }, {random_f64(shape, 1, 3.0)}), 1e-5);
    EXPECT_LT(gpucheck([](const auto& x) { return log_softmax(x[0]); }, {random_f64(shape, 2, 3.0)}), 1e-5);
  }
}

}  // namespace tessera
