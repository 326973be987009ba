#pragma once

#include <cstdint>
#include <vector>

#include "framework/roles/tokenizer.h"

namespace tessera {

// How much of what codes say comes from behaviour and how much from content: the share of an item's ten nearest
// neighbours by its codes' vectors (I, D) that are also among its ten nearest by shared training users (cosine of their
// sets), and by each modality. Over at most 2,000 known items, drawn by a fixed counter; items without anything to
// compare do not count.
std::vector<HealthFigure> neighbour_figures(const Tensor& decoded, const std::vector<std::uint8_t>& known,
                                            const Dataset& data);

}  // namespace tessera
