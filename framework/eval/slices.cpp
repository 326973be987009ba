#include "framework/eval/slices.h"

#include <cmath>
#include <limits>

namespace tessera {

void check_count_bounds(const std::vector<std::int64_t>& bounds) {
  for (std::size_t i = 1; i < bounds.size(); ++i)
    if (bounds[i] <= bounds[i - 1])
      throw ConfigError(str("evaluate.item_counts: ", bounds[i], " stands behind ", bounds[i - 1],
                            "; expected bounds that rise, as [0, 5, 10]"));
}

std::vector<ItemSlice> count_slices(const Dataset& data, const std::vector<std::int64_t>& bounds) {
  check_count_bounds(bounds);
  std::vector<ItemSlice> slices;
  if (bounds.empty()) return slices;
  const auto counts = train_counts(data);
  const auto add = [&](const std::string& name, std::int64_t low, std::int64_t high) {
    ItemSlice slice{name, std::vector<std::uint8_t>(counts.size(), 0)};
    for (std::size_t i = 0; i < counts.size(); ++i) slice.holds[i] = counts[i] >= low && counts[i] <= high;
    slices.push_back(std::move(slice));
  };
  std::int64_t low = 0;
  for (const std::int64_t high : bounds) {
    add(low == high ? str("items_", low) : str("items_", low, "_", high), low, high);
    low = high + 1;
  }
  add(str("items_over_", bounds.back()), low, std::numeric_limits<std::int64_t>::max());
  return slices;
}

Questions narrow(const Questions& asked, const ItemSlice& slice, std::vector<std::int64_t>& rows) {
  const Histories& from = asked.histories;
  Questions out;
  rows.clear();
  for (std::int64_t b = 0; b < from.rows(); ++b) {
    const auto row = static_cast<std::size_t>(b);
    for (auto i = static_cast<std::size_t>(asked.target_offset[row]);
         i < static_cast<std::size_t>(asked.target_offset[row + 1]); ++i)
      if (slice.holds[static_cast<std::size_t>(asked.target[i])] != 0) out.target.push_back(asked.target[i]);
    const auto targets = static_cast<std::int64_t>(out.target.size());
    if (targets == out.target_offset.back()) continue;
    out.target_offset.push_back(targets);
    rows.push_back(b);
    out.histories.user.push_back(from.user[row]);
    const auto copy = [&](const auto& column, auto& to) {
      if (!column.empty())
        to.insert(to.end(), column.begin() + from.offset[row], column.begin() + from.offset[row + 1]);
    };
    copy(from.item, out.histories.item);
    copy(from.time, out.histories.time);
    copy(from.action, out.histories.action);
    out.histories.offset.push_back(out.histories.size());
  }
  return out;
}

void add_slice_metrics(const Ranking& ranking, const Questions& asked, const ItemSlice& slice,
                       const std::vector<std::int64_t>& cutoffs, const std::string& prefix, Evaluation& out) {
  std::vector<std::int64_t> rows;
  const Questions few = narrow(asked, slice, rows);
  if (rows.empty()) return;
  Ranking lists;
  lists.k = ranking.k;
  for (const std::int64_t row : rows)
    lists.item.insert(lists.item.end(), ranking.item.begin() + row * ranking.k,
                      ranking.item.begin() + (row + 1) * ranking.k);
  const auto metrics =
      ranking_metrics(lists, few.target_offset, few.target, cutoffs, static_cast<std::int64_t>(slice.holds.size()));
  for (const auto& name : metrics.names) {
    if (!name.starts_with("Recall@") && !name.starts_with("NDCG@")) continue;
    const std::string full = prefix + slice.name + "/" + name;
    std::vector<double> values(static_cast<std::size_t>(asked.histories.rows()), std::nan(""));
    const auto& some = metrics.per_user.at(name);
    for (std::size_t i = 0; i < rows.size(); ++i) values[static_cast<std::size_t>(rows[i])] = some[i];
    out.names.push_back(full);
    out.mean[full] = metrics.mean.at(name);
    out.per_user[full] = std::move(values);
  }
}

}  // namespace tessera
