#include "plugins/click/item_rates.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace tessera {
namespace {

double odds(double p) { return std::log(p / (1.0 - p)); }

}  // namespace

ItemRates::ItemRates(const Dataset& data, double smoothing) : smoothing_(smoothing) {
  const Interactions& all = data.interactions;
  if (all.time.size() != all.item.size())
    throw DataError(
        str("'", data.name,
            "' has no times, but item_rate counts the clicks before a moment; set item_rate = 0 in [head]"));
  std::vector<std::vector<std::pair<std::int64_t, std::int8_t>>> events(static_cast<std::size_t>(data.item_count()));
  double clicks = 1.0, shown = 2.0;  // so that neither share of the average is 0
  for (std::size_t i = 0; i < all.item.size(); ++i) {
    if (all.part[i] != Part::train) continue;
    events[static_cast<std::size_t>(all.item[i])].emplace_back(all.time[i], all.label[i] > 0 ? 1 : 0);
    clicks += all.label[i] > 0;
    shown += 1.0;
  }
  mean_ = clicks / shown;
  offset_.push_back(0);
  for (auto& list : events) {
    std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::int32_t count = 0;
    for (const auto& [time, click] : list) {
      time_.push_back(time);
      clicks_.push_back(count += click);
    }
    offset_.push_back(static_cast<std::int64_t>(time_.size()));
  }
}

Tensor ItemRates::log_odds(std::span<const std::int32_t> item, std::span<const std::int64_t> time, DType type) const {
  std::vector<float> values;
  values.reserve(item.size());
  for (std::size_t i = 0; i < item.size(); ++i) {
    const auto begin = time_.begin() + offset_[static_cast<std::size_t>(item[i])],
               end = time_.begin() + offset_[static_cast<std::size_t>(item[i]) + 1];
    const auto last = time.empty() || time[i] == kNow ? end : std::lower_bound(begin, end, time[i]);
    const auto shown = static_cast<double>(last - begin);
    const double clicks = last == begin ? 0.0 : clicks_[static_cast<std::size_t>(last - time_.begin() - 1)];
    const double rate = (clicks + smoothing_ * mean_) / (shown + smoothing_);
    values.push_back(static_cast<float>(odds(rate) - odds(mean_)));
  }
  return Tensor::from(values, {static_cast<std::int64_t>(item.size())}).to(type);
}

}  // namespace tessera
