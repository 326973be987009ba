#pragma once

#include <string>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/eval/evaluator.h"

namespace tessera::cli {

// Text for people: columns are aligned, the first to the left, the others to the right.
std::string table(const std::vector<std::vector<std::string>>& rows);
std::string fixed(double value, int digits = 4);
std::string data_line(const Dataset& data, std::int64_t rejected);  // "beauty: 22363 users, 12101 items, ..."
std::string evaluation_table(
    const Evaluation& evaluation);  // protocol, then metrics over all items and over unseen ones
std::string evaluation_json(const Evaluation& evaluation);

}  // namespace tessera::cli
