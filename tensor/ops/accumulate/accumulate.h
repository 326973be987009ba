#pragma once

#include "tensor/core/tensor.h"

namespace tessera {

// y += x, in place, not recorded: the tape adds gradients with it.
// x, y: the same number of elements, f32 or f64, one device. Throws Error where types or sizes differ.
TESSERA_API void accumulate(Tensor& y, const Tensor& x);

namespace cpu {
void accumulate(Tensor& y, const Tensor& x);
}
namespace cuda {
void accumulate(Tensor& y, const Tensor& x);
}

}  // namespace tessera
