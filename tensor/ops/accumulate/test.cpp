#include "tensor/ops/accumulate/accumulate.h"

#include <gtest/gtest.h>

namespace tessera {

TEST(Accumulate, AddsInPlace) {
  Tensor y = Tensor::from<float>({1, 2, 3}, {3});
  accumulate(y, Tensor::from<float>({10, 20, 30}, {3}));
  EXPECT_EQ(y.values<float>()[2], 33.0f);
}

TEST(Accumulate, RefusesOtherSizes) {
  Tensor y = Tensor::zeros({3});
  EXPECT_THROW(accumulate(y, Tensor::zeros({4})), Error);
}

}  // namespace tessera
