#include "tensor/ops/adamw/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

AdamWTensor make(const Shape& shape, std::uint64_t seed, double decay, DType type = DType::f64) {
  return {random_f64(shape, seed).to(type).clone(), random_f64(shape, seed + 100).to(type), Tensor::zeros(shape, type),
          Tensor::zeros(shape, type), decay};
}

// The paper's lines, one number at a time.
void naive(AdamWTensor& p, const AdamWStep& s) {
  const double c1 = 1 - std::pow(s.beta1, static_cast<double>(s.step)),
               c2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  for (std::int64_t i = 0; i < p.value.numel(); ++i) {
    double &value = p.value.data<double>()[i], &m = p.first.data<double>()[i], &v = p.second.data<double>()[i];
    const double g = s.gradient_scale * p.gradient.data<double>()[i];
    value -= s.learning_rate * p.weight_decay * value;
    m = s.beta1 * m + (1 - s.beta1) * g;
    v = s.beta2 * v + (1 - s.beta2) * g * g;
    value -= s.learning_rate * (m / c1) / (std::sqrt(v / c2) + s.eps);
  }
}

}  // namespace

TEST(AdamW, FirstStepMovesByTheLearningRate) {  // m^ / sqrt(v^) is the gradient's sign
  AdamWTensor p{Tensor::from<double>({1, 1}, {2}), Tensor::from<double>({0.5, -3}, {2}), Tensor::zeros({2}, DType::f64),
                Tensor::zeros({2}, DType::f64), 0.1};
  adamw(std::span(&p, 1), {.learning_rate = 0.01});
  EXPECT_NEAR(p.value.data<double>()[0], 1 - 0.001 - 0.01, 1e-9);
  EXPECT_NEAR(p.value.data<double>()[1], 1 - 0.001 + 0.01, 1e-9);
}

TEST(AdamW, EqualsThePaper) {
  std::vector<AdamWTensor> fused = {make({31, 7}, 1, 0.0), make({1}, 2, 0.3), make({0, 4}, 3, 0.0),
                                    make({70001}, 4, 0.01)};
  std::vector<AdamWTensor> reference;
  for (const auto& p : fused)
    reference.push_back({p.value.clone(), p.gradient, p.first.clone(), p.second.clone(), p.weight_decay});
  AdamWStep step{.learning_rate = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-6, .gradient_scale = 0.25};
  for (step.step = 1; step.step <= 5; ++step.step) {
    adamw(fused, step);
    for (auto& p : reference) naive(p, step);
  }
  for (std::size_t k = 0; k < fused.size(); ++k)
    for (std::int64_t i = 0; i < fused[k].value.numel(); ++i) {
      ASSERT_NEAR(fused[k].value.data<double>()[i], reference[k].value.data<double>()[i], 1e-13);
      ASSERT_NEAR(fused[k].second.data<double>()[i], reference[k].second.data<double>()[i], 1e-13);
    }
}

TEST(AdamW, SameBitsForAnyThreads) {
  EXPECT_TRUE(same_bits([] {
    std::vector<AdamWTensor> p = {make({317, 129}, 1, 0.1, DType::f32), make({5}, 2, 0.0, DType::f32)};
    adamw(p, {});
    return p[0].value;
  }));
}

TEST(AdamW, Refusals) {
  AdamWTensor p = make({2, 3}, 1, 0.0);
  EXPECT_EQ(message_of([&] { adamw(std::span(&p, 1), {.step = 0}); }), "adamw: step 0, expected 1 or more");
  p.gradient = Tensor({3, 2}, DType::f64);
  EXPECT_EQ(message_of([&] { adamw(std::span(&p, 1), {}); }),
            "adamw: tensor 0 has value (2, 3) and gradient (3, 2), expected the same shape");
  p.gradient = {};
  EXPECT_EQ(message_of([&] { adamw(std::span(&p, 1), {}); }), "adamw: gradient is empty");
}

TEST(GlobalNorm, GoldenValues) {
  const std::vector<Tensor> tensors = {Tensor::from<float>({1, 2}, {2}), Tensor::from<double>({2, 4}, {2, 1})};
  EXPECT_EQ(global_norm(tensors), 5.0);
  EXPECT_EQ(global_norm({}), 0.0);
}

TEST(GlobalNorm, InfinityAndNanPassThrough) {
  const std::vector<Tensor> infinite = {Tensor::full({3}, 1),
                                        Tensor::full({3}, std::numeric_limits<double>::infinity())};
  EXPECT_TRUE(std::isinf(global_norm(infinite)));
  const std::vector<Tensor> nan = {Tensor::full({3}, NAN)};
  EXPECT_TRUE(std::isnan(global_norm(nan)));
  const std::vector<Tensor> large = {Tensor::full({4}, 1e30)};  // the squares leave f32
  EXPECT_NEAR(global_norm(large), 2e30, 1e23);
}

TEST(GlobalNorm, SameBitsForAnyThreads) {
  const std::vector<Tensor> tensors = {random_f64({100'003}, 1).to(DType::f32), random_f64({317}, 2)};
  EXPECT_TRUE(same_bits([&] { return Tensor::scalar(global_norm(tensors), DType::f64); }));
}

}  // namespace tessera
