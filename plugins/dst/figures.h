#pragma once

#include <string>
#include <vector>

#include "framework/roles/tokenizer.h"
#include "plugins/dst/network.h"

namespace tessera {

// What the health report of the plugin adds, from the vectors behind the codes of `items` (those with a modality):
// for each modality R2 of its features from the shared codes alone and from all of its codes, how much of its private
// part a ridge regression finds in the shared part and back (R2 on rows held out; see framework/nn/ridge.h), and their
// mutual information (vCLUB, learnt afresh on four fifths and measured on the rest, so that it says the same for a
// tokenizer that was trained without it); for each two modalities the R2 between their private parts.
std::vector<HealthFigure> disentanglement(DstNetwork& network, const std::vector<std::string>& names,
                                          const DstInput& input, const std::vector<std::int32_t>& items);

}  // namespace tessera
