#include "framework/data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

void leave_one_out(Interactions& rows, const SplitOptions& options) {
  for (std::int64_t user = 0; user < rows.users(); ++user) {
    const std::int64_t n = rows.end(user) - rows.begin(user);
    if (n < options.min_items) continue;
    Part* part = rows.part.data() + rows.begin(user);
    part[n - 1] = Part::test;
    if (n >= 3) part[n - 2] = Part::valid;
  }
}

// Newest interactions of all users test, those before them validate. Ties keep the data's order, so a user's parts do
// too.
void by_time(Interactions& rows, const SplitOptions& options) {
  std::vector<std::int64_t> order(rows.item.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return rows.time[static_cast<std::size_t>(a)] < rows.time[static_cast<std::size_t>(b)];
  });
  const auto n = static_cast<double>(rows.size());
  const auto test = static_cast<std::size_t>(std::llround(options.test * n));
  const auto valid = static_cast<std::size_t>(std::llround(options.valid * n));
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t newer = order.size() - 1 - i;
    if (newer < test + valid) rows.part[static_cast<std::size_t>(order[i])] = newer < test ? Part::test : Part::valid;
  }
}

void by_ratio(Interactions& rows, const SplitOptions& options, std::uint64_t seed) {
  parallel_rows(rows.users(), 1024, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> order;
    for (std::int64_t user = begin; user < end; ++user) {
      order.resize(static_cast<std::size_t>(rows.end(user) - rows.begin(user)));
      std::iota(order.begin(), order.end(), rows.begin(user));
      Random random(seed, stream_of("split/ratio") + static_cast<std::uint64_t>(user));
      random.shuffle(std::span<std::int64_t>(order));
      const auto n = static_cast<std::int64_t>(order.size());
      const std::int64_t test = std::min<std::int64_t>(std::llround(options.test * static_cast<double>(n)), n - 1);
      const std::int64_t valid =
          std::min<std::int64_t>(std::llround(options.valid * static_cast<double>(n)), n - 1 - test);
      for (std::int64_t i = 0; i < test + valid; ++i)
        rows.part[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = i < test ? Part::test : Part::valid;
    }
  });
}

// MMRec's numbers, on a shuffled list: of fewer than 10 the last two are held out, else floor(n / 5), the first half of
// them (rounded down) for validation.
void by_mmrec(Interactions& rows, const SplitOptions& options, std::uint64_t seed) {
  parallel_rows(rows.users(), 1024, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int64_t> order;
    for (std::int64_t user = begin; user < end; ++user) {
      const std::int64_t n = rows.end(user) - rows.begin(user);
      if (n < options.min_items) continue;
      order.resize(static_cast<std::size_t>(n));
      std::iota(order.begin(), order.end(), rows.begin(user));
      Random random(seed, stream_of("split/mmrec") + static_cast<std::uint64_t>(user));
      random.shuffle(std::span<std::int64_t>(order));
      const std::int64_t held = n < 10 ? 2 : n / 5, valid = held / 2;
      for (std::int64_t i = n - held; i < n; ++i)
        rows.part[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] =
            i < n - held + valid ? Part::valid : Part::test;
    }
  });
}

// Items are ordered by a number of their own, so a larger share holds all items of a smaller one.
void hold_out_items(Dataset& data, double share, std::uint64_t seed) {
  std::vector<std::pair<std::uint64_t, std::int64_t>> order;
  for (std::int64_t item = 0; item < data.item_count(); ++item) {
    const auto words = philox(seed, stream_of("split/cold_items"), static_cast<std::uint64_t>(item));
    order.emplace_back(static_cast<std::uint64_t>(words[0]) << 32 | words[1], item);
  }
  std::sort(order.begin(), order.end());
  const auto count = std::max<std::int64_t>(1, std::llround(share * static_cast<double>(data.item_count())));
  data.cold_items.assign(order.size(), 0);
  for (std::int64_t i = 0; i < std::min(count, data.item_count()); ++i)
    data.cold_items[static_cast<std::size_t>(order[static_cast<std::size_t>(i)].second)] = 1;
  Interactions& rows = data.interactions;
  for (std::size_t i = 0; i < rows.item.size(); ++i)
    if (rows.part[i] == Part::train && data.cold_items[static_cast<std::size_t>(rows.item[i])] != 0)
      rows.part[i] = Part::none;
}

void drop_untrained_users(Interactions& rows) {
  for (std::int64_t user = 0; user < rows.users(); ++user) {
    const auto begin = rows.part.begin() + rows.begin(user), end = rows.part.begin() + rows.end(user);
    if (std::find(begin, end, Part::train) == end) std::fill(begin, end, Part::none);
  }
}

void set_parts(Dataset& data, const SplitOptions& options, std::uint64_t seed) {
  Interactions& rows = data.interactions;
  if (options.method == "given") {
    if (!data.split_given || rows.part.size() != rows.item.size())
      throw DataError(str("split: method 'given', but '", data.name,
                          "' came without a split of its own; use leave_one_out, time, ratio or mmrec"));
    return;
  }
  const bool shares = options.method == "time" || options.method == "ratio";
  if (shares && options.valid + options.test >= 1.0)
    throw ConfigError(str("split: valid ", options.valid, " and test ", options.test,
                          " leave nothing to train on; their sum must be below 1"));
  if (options.method == "time" && rows.time.empty())
    throw DataError(str("split: method 'time', but the interactions of '", data.name,
                        "' have no times; use leave_one_out or ratio"));
  rows.part.assign(rows.item.size(), Part::train);
  if (options.method == "leave_one_out") leave_one_out(rows, options);
  if (options.method == "time") by_time(rows, options);
  if (options.method == "ratio") by_ratio(rows, options, seed);
  if (options.method == "mmrec") by_mmrec(rows, options, seed);
}

}  // namespace

void split(Dataset& data, const SplitOptions& options, std::uint64_t seed) {
  if (options.seed != 0) seed = static_cast<std::uint64_t>(options.seed);
  set_parts(data, options, seed);
  data.cold_items.clear();
  if (options.cold_items > 0.0) hold_out_items(data, options.cold_items, seed);
  if (options.trained_users || options.method == "mmrec") drop_untrained_users(data.interactions);
}

}  // namespace tessera
