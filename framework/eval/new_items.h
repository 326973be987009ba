#pragma once

#include "framework/catalog/filters.h"
#include "framework/eval/evaluator.h"
#include "tensor/core/export.h"

namespace tessera {

// Items without a training interaction, (I) of 0 and 1.
TESSERA_API ItemMask new_items(const Dataset& data);

// Lists of `ranker` in which, of the first K places of any length, floor(share K) at least are new items: an item that
// nobody has taken yet seldom beats known ones in likelihood, however well it fits (TIGER, arXiv 2305.05065, 4.3, keeps
// a share of its list for unseen items too). Each such place goes to the best new item that is not in the list yet; the
// others keep the ranker's order, and where new items run out, so do their places. Scores are the ranker's, so they no
// longer fall from place to place. Throws Error where share is not in [0, 1].
TESSERA_API Ranker with_new_items(Ranker ranker, ItemMask fresh, double share);

}  // namespace tessera
