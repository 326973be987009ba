#pragma once

#include <cstdint>

#include "framework/train/options.h"
#include "tensor/core/export.h"

namespace tessera {

// Learning rate of step 1 .. total: linear warm-up, then
//   constant      peak
//   cosine        peak (f + (1 - f)(1 + cos(pi p))/2), p = share of the steps after the warm-up, f = final_rate
//   inverse_sqrt  peak sqrt(w / step), w = max(warmup_steps, 1)
TESSERA_API double learning_rate_at(std::int64_t step, std::int64_t total, const TrainOptions& options);

}  // namespace tessera
