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
  int min_items = 3;  // leave_one_out, mmrec: users with fewer keep all their interactions for training
  bool trained_users = false;
  double cold_items = 0.0;
  std::int64_t seed = 0;

  template <class V>
  void describe(V& v) {
    v("method", method,
      "leave_one_out: last item tests, last but one validates; given: as the data came; time: one global cut; ratio: "
      "random, per user; mmrec: random, per user, in MMRec's numbers",
      {"leave_one_out", "given", "time", "ratio", "mmrec"});
    v("valid", valid, "share of interactions for validation (time, ratio)", 0.0, 0.9);
    v("test", test, "share of interactions for test (time, ratio)", 0.0, 0.9);
    v("min_items", min_items, "leave_one_out, mmrec: fewest interactions of a user that is held out from", 2, 1000);
    v("trained_users", trained_users,
      "validate and test only users that have a training interaction (with method mmrec always)");
    v("cold_items", cold_items,
      "share of the items, drawn at random, whose training interactions are all removed: strict cold items", 0.0, 0.9);
    v("seed", seed, "seed of what is drawn here; 0: that of the run, so that runs with several seeds differ in it", 0,
      9223372036854775807);
  }
};

// Sets Interactions::part. Ties in time keep the data's order. Throws DataError where the method does not fit the data:
// `given` without given parts, `time` without times. Draws are functions of (seed, user) and (seed, item). With
// cold_items, Dataset::cold_items says which items lost their training interactions (their part is now none); their
// interactions of other parts stay.
TESSERA_API void split(Dataset& data, const SplitOptions& options, std::uint64_t seed);

}  // namespace tessera
