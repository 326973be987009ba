#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// One parameter of the fused update. All tensors have the parameter's shape, type and device.
struct AdamWTensor {
  Tensor value, gradient, first, second;
  double weight_decay = 0.0;
};

struct AdamWStep {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  std::int64_t step = 1;        // from 1, for the bias correction
  double gradient_scale = 1.0;  // clipping and accumulation: the gradient is multiplied by it on the way
};

// AdamW (Loshchilov and Hutter 2019) over all parameters in one pass over memory:
//   value -= lr decay value; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; value -= lr m^/(sqrt(v^) + eps).
TESSERA_API void adamw(std::span<AdamWTensor> parameters, const AdamWStep& step);

// sqrt of the sum of squares of all tensors, in f64, tiles of fixed size in a fixed order. Infinity or NaN pass
// through.
TESSERA_API double global_norm(std::span<const Tensor> tensors);

namespace detail {
// The constants of one step, so that the inner loop is value = keep value - rate m / (sqrt(v) root + eps).
struct AdamWFactors {
  double rate, root, keep;
};
AdamWFactors adamw_factors(const AdamWStep& step, double weight_decay);
}  // namespace detail

namespace cpu {
void adamw(std::span<AdamWTensor> parameters, const AdamWStep& step);
void sum_of_squares(std::span<const Tensor> tensors, double& out);
}  // namespace cpu
namespace cuda {
void adamw(std::span<AdamWTensor> parameters, const AdamWStep& step);
void sum_of_squares(std::span<const Tensor> tensors, double& out);
}  // namespace cuda

}  // namespace tessera
