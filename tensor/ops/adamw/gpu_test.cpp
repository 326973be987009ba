#include <gtest/gtest.h>

#include <cmath>

#include "tensor/autograd/gpucheck.h"
#include "tensor/ops/adamw/adamw.h"

namespace tessera {
namespace {

Tensor tensor_of(std::uint64_t seed, DType type, Device device) {
  return random_f64({317, 13}, seed).to(type).to(device);
}

// Three steps with the same gradient; the value they lead to.
Tensor train(DType type, Device device) {
  AdamWTensor p{tensor_of(1, type, device).clone(), tensor_of(2, type, device), Tensor::zeros({317, 13}, type, device),
                Tensor::zeros({317, 13}, type, device), 0.1};
  for (std::int64_t step = 1; step <= 3; ++step)
    adamw(std::span(&p, 1), {.learning_rate = 0.01, .step = step, .gradient_scale = 0.5});
  return p.value.to(Device::cpu()).to(DType::f64);
}

}  // namespace

TEST(AdamWGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const Tensor gpu = train(DType::f32, Device::cuda()), cpu = train(DType::f64, Device::cpu());
  for (std::int64_t i = 0; i < cpu.numel(); ++i) ASSERT_NEAR(gpu.data<double>()[i], cpu.data<double>()[i], 1e-5);
}

TEST(GlobalNormGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const auto norm = [](DType type, Device device) {
    const std::vector<Tensor> tensors = {tensor_of(1, type, device), random_f64({3}, 2).to(type).to(device),
                                         Tensor({0}, type, device)};
    return global_norm(tensors);
  };
  EXPECT_NEAR(norm(DType::f32, Device::cuda()) / norm(DType::f64, Device::cpu()), 1.0, 1e-6);
}

}  // namespace tessera
