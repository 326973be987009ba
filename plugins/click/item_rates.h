#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/data/dataset.h"
#include "tensor/core/tensor.h"

namespace tessera {

// How often training interactions with an item were clicks, before a moment: ordered target statistics (CatBoost,
// Prokhorenkova et al. 2018), so that no interaction ever sees its own label, nor later ones. Immutable.
class ItemRates {
 public:
  static constexpr std::int64_t kNow = -1;  // after all training interactions
  // smoothing: clicks of the average item that every item is given. Throws DataError where the data has no times.
  ItemRates(const Dataset& data, double smoothing);

  // (n): log odds of the smoothed rate, less those of the average item. time (n), or empty: now.
  Tensor log_odds(std::span<const std::int32_t> item, std::span<const std::int64_t> time, DType type) const;

 private:
  double smoothing_, mean_;
  std::vector<std::int64_t> offset_;  // (I + 1)
  std::vector<std::int64_t> time_;    // of an item's interactions, rising
  std::vector<std::int32_t> clicks_;  // among those up to and with each
};

}  // namespace tessera
