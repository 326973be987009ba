#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/export.h"
#include "tensor/core/random.h"

namespace tessera {

// Draws items that stand in for "not chosen": each alike, or in proportion to popularity ^ power.
class TESSERA_API Negatives {
 public:
  explicit Negatives(std::int64_t items) : items_(items) {}
  Negatives(std::span<const std::int64_t> popularity,
            double power);  // an item that was never chosen counts as chosen once
  std::vector<std::int32_t> draw(std::int64_t count, Random& random) const;
  double log_probability(std::int32_t item) const;

 private:
  std::int64_t items_ = 0;
  std::vector<double> until_;  // (I) summed weights, where they differ
};

}  // namespace tessera
