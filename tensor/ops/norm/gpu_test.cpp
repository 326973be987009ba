#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {

TEST(NormGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  for (const Shape& shape : {Shape{37, 11}, Shape{1, 5}, Shape{130, 64}, Shape{2, 3, 33}}) {
    const Tensor x = random_f64(shape, 1), gain = random_f64({shape.columns()}, 2),
                 bias = random_f64({shape.columns()}, 3);
    EXPECT_LT(gpucheck([](const auto& v) { return layer_norm(v[0], v[1], v[2]); }, {x, gain, bias}), 2e-5);
    EXPECT_LT(gpucheck([](const auto& v) { return layer_norm(v[0], v[1], {}); }, {x, gain}), 2e-5);
    EXPECT_LT(gpucheck([](const auto& v) { return rms_norm(v[0], v[1]); }, {x, gain}), 2e-5);
    EXPECT_LT(gpucheck([](const auto& v) { return l2_normalize(v[0]); }, {x}), 2e-5);
  }
}

}  // namespace tessera
