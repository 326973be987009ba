#include "tensor/ops/accumulate/accumulate.h"

#include <gtest/gtest.h>

#include "tensor/core/testing.h"

namespace tessera {

TEST(Accumulate, AddsInPlace) {
  Tensor y = Tensor::from<float>({1, 2, 3}, {3});
  accumulate(y, Tensor::from<float>({10, 20, 30}, {3}));
  EXPECT_EQ(y.values<float>()[2], 33.0f);
}

TEST(Accumulate, RefusesOtherSizes) {
  Tensor y = Tensor::zeros({3});
  EXPECT_EQ(message_of([&] { accumulate(y, Tensor::zeros({4})); }),
            "accumulate: (4) onto (3), expected as many elements");
  EXPECT_EQ(message_of([&] { accumulate(y, Tensor::zeros({3}, DType::f64)); }),
            "accumulate: y is f32 on cpu, x is f64 on cpu; expected one type and one device");
}

}  // namespace tessera
