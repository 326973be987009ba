#include "plugins/graph_rq_vae/neighbours.h"

#include <algorithm>
#include <cmath>

#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {
namespace {

constexpr int kNearest = 10;
constexpr std::size_t kQueries = 2000;

using Lists = std::vector<std::vector<std::int32_t>>;  // of each query; empty: nothing to compare

// The nearest by cosine among items that are present.
Lists nearest(const Tensor& x, const std::vector<std::uint8_t>& present, const std::vector<std::int32_t>& queries) {
  const Tensor unit = l2_normalize(x);
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> self;
  for (const std::int32_t query : queries) {
    self.push_back(query);
    offset.push_back(static_cast<std::int64_t>(self.size()));
  }
  const TopK best = topk_inner_product(gather_rows(unit, queries), unit, kNearest, offset, self, present);
  Lists lists(queries.size());
  for (std::size_t q = 0; q < queries.size(); ++q) {
    if (!present.empty() && present[static_cast<std::size_t>(queries[q])] == 0) continue;
    for (std::size_t i = q * kNearest; i < (q + 1) * kNearest; ++i)
      if (best.index[i] >= 0) lists[q].push_back(best.index[i]);
  }
  return lists;
}

// The nearest by shared training users: |users of both| / sqrt(|users| |users|); ties to the smaller item.
Lists taken_together(const Dataset& data, const std::vector<std::int32_t>& queries) {
  const Interactions& all = data.interactions;
  std::vector<std::vector<std::int32_t>> users(static_cast<std::size_t>(data.item_count())),
      items(static_cast<std::size_t>(data.users()));
  for (std::int64_t u = 0; u < all.users(); ++u)
    for (std::int64_t i = all.begin(u); i < all.end(u); ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (all.part[at] != Part::train) continue;
      users[static_cast<std::size_t>(all.item[at])].push_back(static_cast<std::int32_t>(u));
      items[static_cast<std::size_t>(u)].push_back(all.item[at]);
    }
  Lists lists(queries.size());
  std::vector<double> shared(users.size(), 0.0);
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const auto query = static_cast<std::size_t>(queries[q]);
    std::vector<std::int32_t> met;
    for (const std::int32_t user : users[query])
      for (const std::int32_t item : items[static_cast<std::size_t>(user)]) {
        if (static_cast<std::size_t>(item) == query) continue;
        if (shared[static_cast<std::size_t>(item)]++ == 0.0) met.push_back(item);
      }
    for (const std::int32_t item : met)
      shared[static_cast<std::size_t>(item)] /=
          std::sqrt(static_cast<double>(users[static_cast<std::size_t>(item)].size()));
    const auto count = std::min<std::size_t>(kNearest, met.size());
    std::partial_sort(met.begin(), met.begin() + static_cast<std::ptrdiff_t>(count), met.end(),
                      [&](std::int32_t a, std::int32_t b) {
                        const double x = shared[static_cast<std::size_t>(a)], y = shared[static_cast<std::size_t>(b)];
                        return x != y ? x > y : a < b;
                      });
    lists[q].assign(met.begin(), met.begin() + static_cast<std::ptrdiff_t>(count));
    for (const std::int32_t item : met) shared[static_cast<std::size_t>(item)] = 0.0;
  }
  return lists;
}

double overlap(const Lists& a, const Lists& b) {
  double sum = 0.0, count = 0.0;
  for (std::size_t q = 0; q < a.size(); ++q) {
    if (a[q].empty() || b[q].empty()) continue;
    double hits = 0.0;
    for (const std::int32_t item : b[q]) hits += std::find(a[q].begin(), a[q].end(), item) != a[q].end() ? 1.0 : 0.0;
    sum += hits / static_cast<double>(b[q].size());
    count += 1.0;
  }
  return count > 0.0 ? sum / count : 0.0;
}

}  // namespace

std::vector<HealthFigure> neighbour_figures(const Tensor& decoded, const std::vector<std::uint8_t>& known,
                                            const Dataset& data) {
  std::vector<std::int32_t> queries;
  for (std::size_t i = 0; i < known.size(); ++i)
    if (known[i] != 0) queries.push_back(static_cast<std::int32_t>(i));
  Random random(1, stream_of("graph_rq_vae/neighbours"));
  random.shuffle(std::span<std::int32_t>(queries));
  queries.resize(std::min(queries.size(), kQueries));
  const Lists coded = nearest(decoded, known, queries);
  std::vector<HealthFigure> figures{
      {"neighbours by codes that are neighbours by behaviour", overlap(coded, taken_together(data, queries))}};
  for (const auto& [name, feature] : data.features)
    figures.push_back({str("neighbours by codes that are neighbours by ", name),
                       overlap(coded, nearest(feature.values, feature.present, queries))});
  return figures;
}

}  // namespace tessera
