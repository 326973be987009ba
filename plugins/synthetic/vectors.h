#pragma once

#include <cstdint>

#include "plugins/synthetic/world.h"
#include "tensor/core/tensor.h"

namespace tessera::synthetic {

// One vector an item and modality ("text", "image") with known causes: the item's category c, which all modalities
// share, and its kind k = World::kind(item, modality), which is this modality's alone.
//   x = C_c + P_k + 1/2 C'_c * P'_k + noise, rows of C, P, C', P' and the noise normal, * number by number
// Zeros where the item lacks the modality. (I, kVectorWidth) f32. A pure function of (options, modality).
inline constexpr std::int64_t kVectorWidth = 48;
Tensor vectors_of(const World& world, const char* modality);

}  // namespace tessera::synthetic
