#pragma once

#include <cstdint>
#include <span>

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

}  // namespace tessera
