#pragma once

#include <cstdint>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Sinusoidal positions (Vaswani et al. 2017), (rows, width) f32: column d of row i is sin(i / 10000^(d / width)) for
// even d, cos(i / 10000^((d - 1) / width)) for odd d.
TESSERA_API Tensor sinusoids(std::int64_t rows, int width);

}  // namespace tessera
