#include "tensor/ops/losses/losses.h"

#include <gtest/gtest.h>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

Tensor composed_mse(const Tensor& x, const Tensor& y) { return mean(square(subtract(x, y))); }

}  // namespace

TEST(Losses, GoldenValues) {  // closed forms: log(1 + e^-1) = 0.31326..., log(1 + e^-2) = 0.12692...
  EXPECT_EQ(mse(Tensor::from<float>({1, 2}, {2}), Tensor::from<float>({3, 5}, {2})).item(), 6.5);
  const std::vector<float> label = {1, 0};
  EXPECT_NEAR(bce_with_logits(Tensor::from<double>({1, -2}, {2}), label).item(),
              (0.31326168751822286 + 0.1269280110429726) / 2, 1e-15);
  EXPECT_NEAR(bpr(Tensor::from<double>({3}, {1}), Tensor::from<double>({2}, {1})).item(), 0.31326168751822286, 1e-15);
}

TEST(Losses, MseEqualsItsComposition) {
  const Tensor x = random_f64({37, 11}, 1), y = random_f64({37, 11}, 2);
  EXPECT_NEAR(mse(x, y).item(), composed_mse(x, y).item(), 1e-14);
}

TEST(Losses, LargeLogitsStayFinite) {
  const std::vector<float> label = {1, 0};
  EXPECT_EQ(bce_with_logits(Tensor::from<float>({-1000, 1000}, {2}), label).item(), 1000.0);
}

TEST(LossesGrad, Gradcheck) {
  for (const Shape& shape : {Shape{7}, Shape{1}, Shape{5, 3}}) {
    const std::vector<Tensor> inputs = {random_f64(shape, 1), random_f64(shape, 2)};
    std::vector<float> label;
    for (std::int64_t i = 0; i < shape.numel(); ++i) label.push_back(static_cast<float>(i % 3) * 0.5f);
    EXPECT_LT(gradcheck([](const auto& x) { return mse(x[0], x[1]); }, inputs), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return composed_mse(x[0], x[1]); }, inputs), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return bpr(x[0], x[1]); }, inputs), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& x) { return bce_with_logits(x[0], label); }, {inputs[0]}), 1e-8);
  }
}

TEST(Losses, SameBitsForAnyThreads) {
  const Tensor x = random_f64({2017, 37}, 1).to(DType::f32), y = random_f64({2017, 37}, 2).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return mse(x, y); }));
}

TEST(Losses, Refusals) {
  const Tensor x({2, 3});
  const std::vector<float> one = {1}, wrong = {0.5f, 2.0f};
  EXPECT_EQ(message_of([&] { mse(x, Tensor({3, 2})); }), "mse: x (2, 3), y (3, 2), expected the same shape");
  EXPECT_EQ(message_of([&] { bce_with_logits(Tensor({2}), one); }), "bce_with_logits: 1 labels for logit (2)");
  EXPECT_EQ(message_of([&] { bce_with_logits(Tensor({2}), wrong); }),
            "bce_with_logits: label[1] is 2, expected 0 .. 1");
  EXPECT_EQ(message_of([&] { bpr(Tensor({2}), Tensor({3})); }),
            "bpr: positive (2), negative (3), expected the same shape");
}

}  // namespace tessera
