#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/feed_forward/feed_forward.h"

namespace tessera {

TEST(FeedForwardGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const std::vector<Tensor> inputs = {random_f64({37, 8}, 1), random_f64({8, 20}, 2, 0.3), random_f64({20}, 3),
                                      random_f64({20, 8}, 4, 0.3), random_f64({8}, 5)};
  const auto part = [](const auto& x) { return feed_forward(x[0], x[1], x[2], x[3], x[4], Activation::gelu); };
  EXPECT_LT(gpucheck(part, inputs), 1e-5);
}

}  // namespace tessera
