#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// Two systems on the same users.
struct PairedTest {
  double mean_a = 0, mean_b = 0, difference = 0;  // b - a
  double low = 0, high = 0;  // 95 % interval of the difference, paired bootstrap over users (percentiles)
  double p_value = 1;        // two-sided paired t test
};

// a, b: one number a user, in the same order; at least two users. resamples draws from (seed, resample).
TESSERA_API PairedTest paired_test(std::span<const double> a, std::span<const double> b, int resamples = 2000,
                                   std::uint64_t seed = 1);

// What each impression contributes to AUC (DeLong et al. 1988): of a positive the share of negatives that score below
// it, of a negative the share of positives above it, ties one half. AUC is the mean over positives, and over negatives.
// Contributions of several runs may be averaged: those of their mean AUC.
TESSERA_API std::vector<double> auc_contributions(std::span<const float> score, std::span<const float> label);
// Difference of two AUCs on the same impressions, from their contributions. offset (R + 1) cuts the impressions into
// users: those of one user need not be independent (Obuchowski 1997; with one impression a user it is DeLong's test).
// Interval and p value are the normal ones. label: 0 or 1, both must occur.
TESSERA_API PairedTest auc_test(std::span<const double> a, std::span<const double> b, std::span<const float> label,
                                std::span<const std::int64_t> offset);

}  // namespace tessera
