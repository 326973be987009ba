#include "framework/nn/own_items.h"

#include <algorithm>
#include <limits>

namespace tessera {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

void close_list(MarkedClasses& lists) { lists.offset.push_back(static_cast<std::int64_t>(lists.column.size())); }

void insert(std::vector<std::int32_t>& rising, std::int32_t item) {
  const auto place = std::lower_bound(rising.begin(), rising.end(), item);
  if (place == rising.end() || *place != item) rising.insert(place, item);
}

std::span<const std::int32_t> list(const MarkedClasses& lists, std::size_t row) {
  return {lists.column.begin() + lists.offset[row], lists.column.begin() + lists.offset[row + 1]};
}

std::span<const std::int32_t> excluded(const RankRequest& request, std::size_t row) {
  if (request.excluded_offset.empty()) return {};
  return {request.excluded.begin() + request.excluded_offset[row],
          request.excluded.begin() + request.excluded_offset[row + 1]};
}

}  // namespace

MarkedClasses own_items_at(const Histories& histories, std::span<const std::int32_t> places) {
  MarkedClasses own{{0}, {}, {}};
  std::size_t next = 0;
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    std::vector<std::int32_t> known;
    for (std::int64_t i = histories.offset[at(b)]; i < histories.offset[at(b) + 1]; ++i) {
      insert(known, histories.item[at(i)]);
      if (next == places.size() || places[next] != i) continue;
      own.column.insert(own.column.end(), known.begin(), known.end());
      close_list(own);
      ++next;
    }
  }
  return own;
}

MarkedClasses own_items(const Histories& histories) {
  MarkedClasses own{{0}, {}, {}};
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    std::vector<std::int32_t> known(histories.item.begin() + histories.offset[at(b)],
                                    histories.item.begin() + histories.offset[at(b) + 1]);
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    own.column.insert(own.column.end(), known.begin(), known.end());
    close_list(own);
  }
  return own;
}

RankRequest without_own(const RankRequest& request, const MarkedClasses& own) {
  RankRequest out;
  out.k = request.k;
  out.allowed = request.allowed;
  out.excluded_offset.push_back(0);
  for (std::size_t b = 0; b + 1 < own.offset.size(); ++b) {
    for (const auto items : {excluded(request, b), list(own, b)})
      out.excluded.insert(out.excluded.end(), items.begin(), items.end());
    out.excluded_offset.push_back(static_cast<std::int64_t>(out.excluded.size()));
  }
  return out;
}

MarkedClasses allowed_own(const RankRequest& request, const MarkedClasses& own) {
  MarkedClasses out{{0}, {}, {}};
  for (std::size_t b = 0; b + 1 < own.offset.size(); ++b) {
    const auto banned = excluded(request, b);
    for (const std::int32_t item : list(own, b)) {
      const bool allowed = request.allowed.empty() || request.allowed[at(item)] != 0;
      if (allowed && std::find(banned.begin(), banned.end(), item) == banned.end()) out.column.push_back(item);
    }
    close_list(out);
  }
  return out;
}

void merge(const MarkedClasses& more, std::span<const float> score, Ranking& ranking) {
  struct Scored {
    float score;
    std::int32_t item;
  };
  const auto k = at(ranking.k);
  for (std::size_t b = 0; b + 1 < more.offset.size(); ++b) {
    std::vector<Scored> all;
    for (std::size_t j = b * k; j < (b + 1) * k && ranking.item[j] >= 0; ++j)
      all.push_back({ranking.score[j], ranking.item[j]});
    for (auto j = at(more.offset[b]); j < at(more.offset[b + 1]); ++j) all.push_back({score[j], more.column[j]});
    std::sort(all.begin(), all.end(), [](const Scored& x, const Scored& y) {
      return x.score > y.score || (x.score == y.score && x.item < y.item);
    });
    all.resize(k, {-std::numeric_limits<float>::infinity(), -1});
    for (std::size_t j = 0; j < k; ++j) {
      ranking.item[b * k + j] = all[j].item;
      ranking.score[b * k + j] = all[j].score;
    }
  }
}

}  // namespace tessera
