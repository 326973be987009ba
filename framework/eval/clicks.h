#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/data/dataset.h"
#include "tensor/core/export.h"

// Click prediction measured: labelled interactions and their scores (logits). Free functions without state.
namespace tessera {

// The labelled interactions of a part, user by user, each user's in time order.
struct Impressions {
  std::vector<std::int32_t> user;       // (R) users with something in the part
  std::vector<std::int64_t> offset{0};  // (R + 1)
  std::vector<std::int32_t> item;       // (N)
  std::vector<float> label;             // (N) 0 or 1
  std::vector<float> score;             // (N) logits; empty until somebody scored them
  std::int64_t rows() const { return static_cast<std::int64_t>(offset.size()) - 1; }
  std::int64_t size() const { return static_cast<std::int64_t>(item.size()); }
};
// Throws DataError where labels are missing or others than 0 and 1.
TESSERA_API Impressions impressions_of(const Dataset& data, Part part);

// Predicted probabilities between low and high (the last bin holds 1): how many, their mean, and the share of clicks.
struct ReliabilityBin {
  double low = 0, high = 0;
  std::int64_t count = 0;
  double predicted = 0, clicked = 0;
};
TESSERA_API std::vector<ReliabilityBin> reliability(std::span<const float> score, std::span<const float> label,
                                                    int bins);
// Expected calibration error: sum over bins of equal width of count / N |clicked - predicted| (Naeini et al. 2015).
TESSERA_API double calibration_error(const std::vector<ReliabilityBin>& bins);
// Mean of softplus(x) - y x. NaN where there is nothing.
TESSERA_API double log_loss(std::span<const float> score, std::span<const float> label);

// Numbers of a user whose mean over users (those that are not NaN) is the metric over impressions, for paired tests:
//   GAUC     the user's AUC times their impressions, over the mean impressions of users with both classes
//   UAUC     the user's AUC, every user alike
//   LogLoss  the user's sum of log losses over the mean impressions of a user
// `counts` (N) 0/1: which impressions are looked at; empty: all. A user without any is NaN.
struct ClickUsers {
  std::vector<double> gauc, uauc, log_loss;  // (R)
};
TESSERA_API ClickUsers click_users(const Impressions& impressions, std::span<const std::uint8_t> counts = {});
TESSERA_API double mean_known(std::span<const double> values);  // over those that are not NaN; NaN where all are

}  // namespace tessera
