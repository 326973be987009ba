#include "framework/catalog/repair.h"

#include <cmath>
#include <limits>

#include "framework/catalog/order.h"

namespace tessera {
namespace {

// The items of one prefix that collide, and the codes that they may take, both ascending.
struct Group {
  std::vector<std::int32_t> items, codes;
};

std::vector<std::int32_t> match(const Group& group, const Tensor& distances) {
  const auto items = static_cast<std::int64_t>(group.items.size()),
             codes = static_cast<std::int64_t>(group.codes.size());
  const bool enough = items <= codes;
  const std::int64_t rows = enough ? items : codes, columns = enough ? codes : items;
  const float* d = distances.data<float>();
  std::vector<double> cost(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto item = group.items[static_cast<std::size_t>(enough ? r : c)],
                 code = group.codes[static_cast<std::size_t>(enough ? c : r)];
      cost[static_cast<std::size_t>(r * columns + c)] = d[item * distances.columns() + code];
    }
  const auto column = assign(cost, rows, columns);
  std::vector<std::int32_t> taken(group.items.size(), -1);
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto c = column[static_cast<std::size_t>(r)];
    taken[static_cast<std::size_t>(enough ? r : c)] = group.codes[static_cast<std::size_t>(enough ? c : r)];
  }
  return taken;
}

}  // namespace

std::vector<std::int32_t> assign(std::span<const double> cost, std::int64_t rows, std::int64_t columns) {
  check(rows <= columns, "assign: ", rows, " rows, expected no more than the ", columns, " columns");
  // Shortest augmenting paths with potentials (Kuhn 1955, Jonker and Volgenant 1987); column 0 is the path's root.
  constexpr double kFar = std::numeric_limits<double>::infinity();
  const auto n = static_cast<std::size_t>(rows), m = static_cast<std::size_t>(columns);
  std::vector<double> row_price(n + 1, 0.0), column_price(m + 1, 0.0), slack(m + 1);
  std::vector<std::size_t> row_at(m + 1, 0), way(m + 1, 0);  // numbered from 1; 0: none
  std::vector<char> done(m + 1);
  for (std::size_t row = 1; row <= n; ++row) {
    slack.assign(m + 1, kFar);
    done.assign(m + 1, 0);
    std::size_t column = 0;
    row_at[0] = row;
    while (row_at[column] != 0) {
      done[column] = 1;
      const std::size_t from = row_at[column];
      std::size_t next = 0;
      double least = kFar;
      for (std::size_t c = 1; c <= m; ++c) {
        if (done[c]) continue;
        const double gap = cost[(from - 1) * m + c - 1] - row_price[from] - column_price[c];
        if (gap < slack[c]) slack[c] = gap, way[c] = column;
        if (slack[c] < least) least = slack[c], next = c;
      }
      for (std::size_t c = 0; c <= m; ++c) {
        if (done[c]) row_price[row_at[c]] += least, column_price[c] -= least;
        else slack[c] -= least;
      }
      column = next;
    }
    for (; column != 0; column = way[column]) row_at[column] = row_at[way[column]];
  }
  std::vector<std::int32_t> column_of(n);
  for (std::size_t c = 1; c <= m; ++c)
    if (row_at[c]) column_of[row_at[c] - 1] = static_cast<std::int32_t>(c - 1);
  return column_of;
}

std::int64_t repair_collisions(std::vector<std::int32_t>& codes, int levels, const Tensor& distances) {
  const auto width = static_cast<std::size_t>(levels);
  const auto items = static_cast<std::int64_t>(codes.size() / width);
  check(static_cast<bool>(distances),
        "catalog: policy 'repair' needs the distances to the last codebook, which this tokenizer does not "
        "offer; use counter or popularity");
  check(distances.shape().rank() == 2 && distances.dim(0) == items, "catalog: policy 'repair' got distances ",
        distances.shape().text(), " for ", items, " items");
  for (const float d : distances.values<float>())
    check(std::isfinite(d), "catalog: policy 'repair' got a distance of ", d);
  const auto order = order_by_codes(codes, levels);
  const auto shared = shared_prefixes(codes, levels, order);
  const auto last = [&](std::size_t place) -> std::int32_t& {
    return codes[static_cast<std::size_t>(order[place]) * width + width - 1];
  };
  std::int64_t changed = 0;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    for (end = begin + 1; end < order.size() && shared[end] >= levels - 1; ++end) {
    }
    Group group;
    std::vector<char> held(static_cast<std::size_t>(distances.columns()), 0);
    for (std::size_t i = begin; i < end; ++i) {
      const std::int32_t code = last(i);
      if (code < 0) continue;
      check(code < distances.columns(), "catalog: policy 'repair' got distances to ", distances.columns(),
            " codes, but item ", order[i], " has code ", code, " on the last level");
      const bool alone = (i == begin || last(i - 1) != code) && (i + 1 == end || last(i + 1) != code);
      if (alone) held[static_cast<std::size_t>(code)] = 1;
      else group.items.push_back(order[i]);
    }
    if (group.items.empty()) continue;
    for (std::int32_t code = 0; code < distances.columns(); ++code)
      if (!held[static_cast<std::size_t>(code)]) group.codes.push_back(code);
    const auto taken = match(group, distances);
    for (std::size_t i = 0; i < taken.size(); ++i) {
      std::int32_t& code = codes[static_cast<std::size_t>(group.items[i]) * width + width - 1];
      if (taken[i] < 0 || taken[i] == code) continue;
      code = taken[i];
      ++changed;
    }
  }
  return changed;
}

}  // namespace tessera
