#include <gtest/gtest.h>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"
#include "tensor/ops/skeleton/skeleton.h"

namespace tessera {

TEST(Skeleton, GoldenValues) {
  const Tensor y = skeleton(Tensor::from<double>({-3, 0, 1}, {3}));
  EXPECT_DOUBLE_EQ(y.values<double>()[0], -0.75);
  EXPECT_DOUBLE_EQ(y.values<double>()[1], 0.0);
  EXPECT_DOUBLE_EQ(y.values<double>()[2], 0.5);
}

TEST(Skeleton, SameBitsForAnyNumberOfThreads) {
  const Tensor x = random_f64({7, 3001}, 1).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return skeleton(x); }));
}

TEST(SkeletonGrad, Gradcheck) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{2, 3, 11}})
    EXPECT_LT(gradcheck([](const auto& x) { return skeleton(x[0]); }, {random_f64(shape, 1)}), 1e-7);
}

TEST(Skeleton, RefusesAnEmptyTensor) {
  EXPECT_EQ(message_of([] { skeleton(Tensor()); }), "skeleton: x is empty");
}

}  // namespace tessera
