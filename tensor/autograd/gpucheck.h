#pragma once

#include <cstdint>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Runs a function in f32 on cuda:0 and in f64 on the CPU, forward and backward under the same random cotangent, and
// returns the largest |gpu - cpu| / max(1, |cpu|) over the result and the gradients of all f64 inputs, which are moved
// and converted; inputs of other types go to the device as they are. For tests in suites that end in Gpu, which skip
// where there is no device:
//   TEST(SoftmaxGpu, EqualsTheCpu) {
//     if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
//     EXPECT_LT(gpucheck([](const auto& x) { return softmax(x[0]); }, {random_f64({37, 11}, 1)}), 1e-5);
//   }
TESSERA_API double gpucheck(const GradcheckFunction& function, const std::vector<Tensor>& inputs,
                            std::uint64_t seed = 7);

inline constexpr const char* kNoGpu = "no CUDA device, or a build without CUDA";

}  // namespace tessera
