#include "framework/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace tessera {
namespace {

struct UserScores {
  double recall = 0, hit = 0, ndcg = 0, mrr = 0;
};

UserScores score_user(std::span<const std::int32_t> list, std::span<const std::int32_t> targets, std::int64_t cutoff) {
  UserScores out;
  double gain = 0, ideal = 0;
  std::int64_t hits = 0;
  const auto depth = std::min<std::int64_t>(cutoff, static_cast<std::int64_t>(list.size()));
  for (std::int64_t r = 0; r < depth; ++r) {
    const auto item = list[static_cast<std::size_t>(r)];
    if (item < 0 || std::find(targets.begin(), targets.end(), item) == targets.end()) continue;
    if (++hits == 1) out.mrr = 1.0 / static_cast<double>(r + 1);
    gain += 1.0 / std::log2(static_cast<double>(r + 2));
  }
  const auto best = std::min<std::int64_t>(cutoff, static_cast<std::int64_t>(targets.size()));
  for (std::int64_t r = 0; r < best; ++r) ideal += 1.0 / std::log2(static_cast<double>(r + 2));
  out.recall = static_cast<double>(hits) / static_cast<double>(targets.size());
  out.hit = hits > 0 ? 1.0 : 0.0;
  out.ndcg = gain / ideal;
  return out;
}

double mean_of(const std::vector<double>& values) {
  return values.empty() ? 0.0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double coverage(const Ranking& ranking, std::int64_t rows, std::int64_t cutoff, std::int64_t items) {
  std::vector<std::uint8_t> seen(static_cast<std::size_t>(items), 0);
  for (std::int64_t b = 0; b < rows; ++b)
    for (std::int64_t r = 0; r < std::min<std::int64_t>(cutoff, ranking.k); ++r)
      if (const auto item = ranking.item[static_cast<std::size_t>(b * ranking.k + r)]; item >= 0)
        seen[static_cast<std::size_t>(item)] = 1;
  return items == 0 ? 0.0 : static_cast<double>(std::count(seen.begin(), seen.end(), 1)) / static_cast<double>(items);
}

double empty_places(const Ranking& ranking, std::int64_t rows, std::int64_t cutoff) {
  const std::int64_t depth = std::min<std::int64_t>(cutoff, ranking.k);
  std::int64_t none = 0;
  for (std::int64_t b = 0; b < rows; ++b)
    for (std::int64_t r = 0; r < depth; ++r) none += ranking.item[static_cast<std::size_t>(b * ranking.k + r)] < 0;
  return rows * depth == 0 ? 0.0 : static_cast<double>(none) / static_cast<double>(rows * depth);
}

}  // namespace

RankingMetrics ranking_metrics(const Ranking& ranking, std::span<const std::int64_t> target_offset,
                               std::span<const std::int32_t> target, const std::vector<std::int64_t>& cutoffs,
                               std::int64_t items) {
  RankingMetrics out;
  const auto rows = static_cast<std::int64_t>(target_offset.size()) - 1;
  for (const auto cutoff : cutoffs) {
    const std::string at = "@" + std::to_string(cutoff);
    std::vector<double> recall, hit, ndcg, mrr;
    for (std::int64_t b = 0; b < rows; ++b) {
      const auto begin = static_cast<std::size_t>(target_offset[static_cast<std::size_t>(b)]);
      const auto end = static_cast<std::size_t>(target_offset[static_cast<std::size_t>(b) + 1]);
      const auto scores = score_user(
          std::span(ranking.item).subspan(static_cast<std::size_t>(b * ranking.k), static_cast<std::size_t>(ranking.k)),
          target.subspan(begin, end - begin), cutoff);
      recall.push_back(scores.recall);
      hit.push_back(scores.hit);
      ndcg.push_back(scores.ndcg);
      mrr.push_back(scores.mrr);
    }
    auto put = [&](const std::string& name, std::vector<double>& values) {
      out.names.push_back(name + at);
      out.mean[name + at] = mean_of(values);
      out.per_user[name + at] = std::move(values);
    };
    put("Recall", recall);
    put("NDCG", ndcg);
    put("HR", hit);
    put("MRR", mrr);
    out.names.push_back("Coverage" + at);
    out.mean["Coverage" + at] = coverage(ranking, rows, cutoff, items);
    if (const double none = empty_places(ranking, rows, cutoff); none > 0.0) {
      out.names.push_back("Invalid" + at);
      out.mean["Invalid" + at] = none;
    }
  }
  return out;
}

double auc(std::span<const float> score, std::span<const float> label) {
  check(score.size() == label.size(), "auc: ", score.size(), " scores, ", label.size(), " labels");
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double rank_sum = 0, positives = 0;
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && score[order[end]] == score[order[i]]) ++end;
    const double rank = 0.5 * static_cast<double>(i + 1 + end);  // the mean rank of a group of ties
    for (; i < end; ++i)
      if (label[order[i]] > 0.5f) {
        rank_sum += rank;
        ++positives;
      }
  }
  const double negatives = static_cast<double>(score.size()) - positives;
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives);
}

double gauc(std::span<const float> score, std::span<const float> label, std::span<const std::int64_t> offset) {
  double sum = 0, weight = 0;
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    const auto begin = static_cast<std::size_t>(offset[b]), count = static_cast<std::size_t>(offset[b + 1]) - begin;
    const double value = auc(score.subspan(begin, count), label.subspan(begin, count));
    if (std::isnan(value)) continue;
    sum += value * static_cast<double>(count);
    weight += static_cast<double>(count);
  }
  return weight == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / weight;
}

}  // namespace tessera
