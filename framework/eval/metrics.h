#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "framework/roles/head.h"
#include "tensor/core/export.h"

namespace tessera {

// One number a user under each name ("Recall@10"), kept for paired tests, and their means. Means are over users.
struct RankingMetrics {
  std::vector<std::string> names;                       // in printing order
  std::map<std::string, std::vector<double>> per_user;  // (B)
  std::map<std::string, double> mean;                   // Coverage@K too, which has no value a user
};

// From top-k lists and targets (jagged, offset (B + 1)); a list shorter than K counts as it is.
//   Recall@K   = |top K and targets| / |targets|
//   HR@K       = 1 if any target is in the top K
//   NDCG@K     = sum_{targets at rank r <= K} 1/log2(r + 1) / sum_{r = 1 .. min(|targets|, K)} 1/log2(r + 1)   (binary
//   gains) MRR@K      = 1 / rank of the first target, 0 where it is below K Coverage@K = different items in all top-K
//   lists / items of the catalogue
//   Invalid@K  = share of the first K places that hold no item (identifiers of free decoding that belong to none, or
//   lists that are shorter); only where there are such places
TESSERA_API RankingMetrics ranking_metrics(const Ranking& ranking, std::span<const std::int64_t> target_offset,
                                           std::span<const std::int32_t> target,
                                           const std::vector<std::int64_t>& cutoffs, std::int64_t items);

// Area under the ROC curve: the probability that a positive scores above a negative, ties count one half. label: 0
// or 1. NaN where one of the classes is missing.
TESSERA_API double auc(std::span<const float> score, std::span<const float> label);
// Mean of the users' AUC weighted by their number of samples, over users that have both classes (DIN, Zhou et al.
// 2018). offset (B + 1) cuts the samples into users. NaN where no user counts.
TESSERA_API double gauc(std::span<const float> score, std::span<const float> label,
                        std::span<const std::int64_t> offset);

}  // namespace tessera
