#pragma once

#include <string>

#include "framework/config/config.h"
#include "framework/data/dataset.h"

namespace tessera {

// [split] of the configuration.
struct SplitOptions {
  std::string method = "leave_one_out";
  double valid = 0.1;  // share of interactions, for `ratio` and `time`
  double test = 0.1;
  int min_items = 3;  // leave_one_out: users with fewer keep all their interactions for training

  template <class V>
  void describe(V& v) {
    v("method", method,
      "leave_one_out: last item tests, last but one validates; given: as the data came; time: one global cut; ratio: "
      "random, per user",
      {"leave_one_out", "given", "time", "ratio"});
    v("valid", valid, "share of interactions for validation (time, ratio)", 0.0, 0.9);
    v("test", test, "share of interactions for test (time, ratio)", 0.0, 0.9);
    v("min_items", min_items, "leave_one_out: fewest interactions of a user that is held out from", 2, 1000);
  }
};

// Sets Interactions::part. Ties in time keep the data's order. Throws DataError where the method does not fit the data:
// `given` without given parts, `time` without times. ratio draws from (seed, user).
TESSERA_API void split(Dataset& data, const SplitOptions& options, std::uint64_t seed);

}  // namespace tessera
