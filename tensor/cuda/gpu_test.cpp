#include <gtest/gtest.h>

#include "tensor/autograd/gpucheck.h"
#include "tensor/core/allocator.h"
#include "tensor/core/testing.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {

TEST(DeviceGpu, TensorsTravelAndReturn) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const Tensor x = random_f64({37, 11}, 1), there = x.to(Device::cuda());
  EXPECT_EQ(there.device(), Device::cuda());
  const Tensor copy = there.clone(), back = copy.row_range(5, 9).to(Device::cpu());
  for (std::int64_t i = 0; i < back.numel(); ++i) EXPECT_EQ(back.data<double>()[i], x.data<double>()[5 * 11 + i]);
  EXPECT_EQ(Tensor::zeros({3, 3}, DType::f32, Device::cuda()).to(Device::cpu()).values<float>()[8], 0.0f);
  Tensor filled({4}, DType::f32, Device::cuda());
  filled.fill(2.5);
  EXPECT_EQ(filled.row_range(3, 4).item(), 2.5);
}

TEST(DeviceGpu, FreedBlocksAreHandedOutAgain) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  { const Tensor x({1000}, DType::f32, Device::cuda()); }
  const auto before = allocator_stats(Device::cuda());
  { const Tensor x({990}, DType::f32, Device::cuda()); }
  EXPECT_EQ(allocator_stats(Device::cuda()).system_allocations, before.system_allocations);
  EXPECT_EQ(allocator_stats(Device::cuda()).in_use, before.in_use);
}

TEST(DeviceGpu, OpsWithoutAKernelSaySo) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const Tensor x = Tensor::zeros({2, 3}, DType::f32, Device::cuda());
  EXPECT_EQ(message_of([&] { topk(x, 1); }),
            "topk: tensor is on cuda:0, but this op runs on the cpu alone; move its inputs with to(Device::cpu())");
}

TEST(Device, AMissingDeviceIsASentence) {
  if (!built_with_cuda()) GTEST_SKIP() << "a build without CUDA";
  const int count = cuda_device_count();
  EXPECT_EQ(message_of([&] { Tensor({2}, DType::f32, Device::cuda(count)); }),
            str("cuda: tensor is on cuda:", count, ", but this machine has ", count, " CUDA devices"));
}

}  // namespace tessera
