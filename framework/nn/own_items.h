#pragma once

#include "framework/data/histories.h"
#include "framework/roles/head.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"

namespace tessera {

// The items that users already have, as marked classes without a value: for each of the places (positions of a batch,
// rising) those of its row up to it; or for each row all of them.
MarkedClasses own_items_at(const Histories& histories, std::span<const std::int32_t> places);
MarkedClasses own_items(const Histories& histories);

// A request in which nobody may get what he already has.
RankRequest without_own(const RankRequest& request, const MarkedClasses& own);

// Own items that the request lets through, one list a row.
MarkedClasses allowed_own(const RankRequest& request, const MarkedClasses& own);

// The k best of a ranking and of further scored items, one score each; ties go to the smaller item number.
void merge(const MarkedClasses& more, std::span<const float> score, Ranking& ranking);

}  // namespace tessera
