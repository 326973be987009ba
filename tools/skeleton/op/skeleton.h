#pragma once

#include "tensor/core/tensor.h"

namespace tessera {

// y = x / (1 + |x|), element by element. x: any shape.
// Gradient: dx = dy / (1 + |x|)^2.
TESSERA_API Tensor skeleton(const Tensor& x);

namespace cpu {
void skeleton_forward(const Tensor& x, Tensor& y);
void skeleton_backward(const Tensor& x, const Tensor& dy, Tensor& dx);
}  // namespace cpu

}  // namespace tessera
