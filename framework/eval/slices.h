#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/data/batches.h"
#include "framework/data/dataset.h"
#include "framework/eval/evaluator.h"
#include "tensor/core/export.h"

namespace tessera {

// A set of items, for metrics over the targets that lie in it.
struct ItemSlice {
  std::string name;                 // "items_1_5"
  std::vector<std::uint8_t> holds;  // (I) 0/1
};

// Items by their training interactions. bounds (rising): {0, 5, 10} gives items_0, items_1_5, items_6_10 and
// items_over_10. Throws ConfigError where they do not rise.
TESSERA_API std::vector<ItemSlice> count_slices(const Dataset& data, const std::vector<std::int64_t>& bounds);
TESSERA_API void check_count_bounds(const std::vector<std::int64_t>& bounds);

// The questions with their targets in the slice alone; users without one are left out. rows: which rows of `asked` are
// left, in order.
TESSERA_API Questions narrow(const Questions& asked, const ItemSlice& slice, std::vector<std::int64_t>& rows);

// Recall@K and NDCG@K of lists for `asked` as "<prefix><slice>/Recall@K", over the targets in the slice alone. per_user
// is as long as `asked`, NaN where a user has no target in the slice; the mean is over the others. Nothing is added
// where nobody has one. ranking: a row of `asked` each.
TESSERA_API void add_slice_metrics(const Ranking& ranking, const Questions& asked, const ItemSlice& slice,
                                   const std::vector<std::int64_t>& cutoffs, const std::string& prefix,
                                   Evaluation& out);

}  // namespace tessera
