#include "framework/nn/negatives.h"

#include <algorithm>
#include <cmath>

namespace tessera {

Negatives::Negatives(std::span<const std::int64_t> popularity, double power)
    : items_(static_cast<std::int64_t>(popularity.size())) {
  double sum = 0.0;
  for (const std::int64_t count : popularity)
    until_.push_back(sum += std::pow(static_cast<double>(std::max<std::int64_t>(1, count)), power));
}

std::vector<std::int32_t> Negatives::draw(std::int64_t count, Random& random) const {
  std::vector<std::int32_t> items(static_cast<std::size_t>(count));
  for (auto& item : items) {
    if (until_.empty()) {
      item = static_cast<std::int32_t>(random.below(items_));
    } else {
      const auto at = std::upper_bound(until_.begin(), until_.end() - 1, random.uniform() * until_.back());
      item = static_cast<std::int32_t>(at - until_.begin());
    }
  }
  return items;
}

double Negatives::log_probability(std::int32_t item) const {
  if (until_.empty()) return -std::log(static_cast<double>(items_));
  const auto at = static_cast<std::size_t>(item);
  return std::log((until_[at] - (at > 0 ? until_[at - 1] : 0.0)) / until_.back());
}

}  // namespace tessera
