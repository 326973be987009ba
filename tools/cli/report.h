#pragma once

#include <span>
#include <string>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/eval/click_baselines.h"
#include "framework/eval/evaluator.h"

namespace tessera::cli {

// Text for people: columns are aligned, the first to the left, the others to the right.
std::string table(const std::vector<std::vector<std::string>>& rows);
std::string fixed(double value, int digits = 4);
std::string data_line(const Dataset& data, std::int64_t rejected);  // "beauty: 22363 users, 12101 items, ..."
// Users whose history is longer than a model reads, as one sentence; empty where there are none (or no limit, 0).
std::string long_histories_line(const Dataset& data, std::int64_t max_items, bool trains_in_windows);
std::string evaluation_table(
    const Evaluation& evaluation);  // protocol, then metrics over all items and over unseen ones
// AUC, GAUC, LogLoss and ECE of scores that need no model.
std::string sanity_table(const std::vector<SanityLine>& lines, std::span<const std::int64_t> offset,
                         std::span<const float> label);
std::string reliability_table(const std::vector<ReliabilityBin>& bins);
std::string evaluation_json(const Evaluation& evaluation);

}  // namespace tessera::cli
