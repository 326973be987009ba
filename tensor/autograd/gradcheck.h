#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Compares the recorded gradient of a function with central differences, in f64, under a random cotangent: with a
// cotangent of ones a softmax whose backward returns zeros would pass. Public, so that plugins test with it.
//   EXPECT_LT(gradcheck([](const auto& x) { return softmax(x[0]); }, {random_f64({4, 7}, 1)}), 1e-7);
// Returns the largest |analytic - numeric| / max(1, |numeric|) over all elements of all inputs. Inputs of other types
// than f64 are passed through unchecked. Under training mode give the function its own TrainingScope.
using GradcheckFunction = std::function<Tensor(const std::vector<Tensor>&)>;
TESSERA_API double gradcheck(const GradcheckFunction& function, std::vector<Tensor> inputs, std::uint64_t seed = 7,
                             double step = 1e-5);

// Normal numbers in f64, to feed it.
TESSERA_API Tensor random_f64(Shape shape, std::uint64_t seed, double deviation = 1.0);

}  // namespace tessera
