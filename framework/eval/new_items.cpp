#include "framework/eval/new_items.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <utility>

namespace tessera {
namespace {

// Places for new items among the first k. Rounded up by a hair: 0.1 * 30 is 3.
std::int64_t places(double share, std::int64_t k) {
  return static_cast<std::int64_t>(std::floor(share * static_cast<double>(k) + 1e-9));
}

// One list: `best` with new items (in order, those of `extra`) in their places. Entries are indices into [best |
// extra].
std::vector<std::size_t> merged(std::span<const std::int32_t> best, std::span<const std::int32_t> extra,
                                const ItemMask& fresh, double share) {
  std::vector<std::size_t> list;
  std::vector<std::int32_t> taken;
  const auto next = [&](std::span<const std::int32_t> from, std::size_t& at) {
    while (at < from.size() && from[at] >= 0 && std::find(taken.begin(), taken.end(), from[at]) != taken.end()) ++at;
    return at < from.size() && from[at] >= 0;
  };
  std::int64_t news = 0;
  for (std::size_t place = 0, b = 0, e = 0; place < best.size(); ++place) {
    const bool more_best = next(best, b), more_extra = next(extra, e);
    const bool due = news < places(share, static_cast<std::int64_t>(place) + 1);
    if (!more_best && !more_extra) break;
    const bool from_extra = more_extra && (due || !more_best);
    const std::int32_t item = from_extra ? extra[e] : best[b];
    list.push_back(from_extra ? best.size() + e : b);
    news += fresh[static_cast<std::size_t>(item)];
    taken.push_back(item);
  }
  return list;
}

}  // namespace

ItemMask new_items(const Dataset& data) {
  ItemMask out;
  for (const std::int64_t count : train_counts(data)) out.push_back(count == 0);
  return out;
}

Ranker with_new_items(Ranker ranker, ItemMask fresh, double share) {
  check(share >= 0.0 && share <= 1.0, "with_new_items: a share of ", share, ", expected 0 to 1");
  return [ranker = std::move(ranker), fresh = std::move(fresh), share](const Histories& histories,
                                                                       const RankRequest& request) {
    Ranking best = ranker(histories, request);
    RankRequest among = request;
    among.k = static_cast<int>(places(share, best.k));
    among.allowed = fresh;
    restrict_mask(among.allowed, request.allowed);
    if (among.k == 0 || std::find(among.allowed.begin(), among.allowed.end(), 1) == among.allowed.end()) return best;
    const Ranking extra = ranker(histories, among);
    Ranking out;
    out.k = best.k;
    out.item.assign(best.item.size(), -1);
    out.score.assign(best.score.size(), -std::numeric_limits<float>::infinity());
    const auto k = static_cast<std::size_t>(best.k), more = static_cast<std::size_t>(extra.k);
    for (std::size_t row = 0; row * k < best.item.size(); ++row) {
      const auto list = merged(std::span(best.item).subspan(row * k, k),
                               std::span(extra.item).subspan(row * more, more), fresh, share);
      for (std::size_t place = 0; place < list.size(); ++place) {
        const bool from_best = list[place] < k;
        const std::size_t at = from_best ? row * k + list[place] : row * more + list[place] - k;
        out.item[row * k + place] = (from_best ? best : extra).item[at];
        out.score[row * k + place] = (from_best ? best : extra).score[at];
      }
    }
    return out;
  };
}

}  // namespace tessera
