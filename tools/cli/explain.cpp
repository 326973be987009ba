#include "tools/cli/explain.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "framework/checkpoint/json.h"
#include "tools/cli/report.h"

namespace tessera::cli {
namespace {

constexpr std::size_t kShown = 3;  // items of the history
const std::string kIndent(8, ' ');

std::span<const std::int32_t> items_of(const Histories& histories, std::int64_t row) {
  const auto begin = static_cast<std::size_t>(histories.offset[static_cast<std::size_t>(row)]),
             end = static_cast<std::size_t>(histories.offset[static_cast<std::size_t>(row) + 1]);
  return std::span(histories.item).subspan(begin, end - begin);
}

// Of each item of the history, over all levels: the mean of attention, the sum of log-likelihoods.
std::vector<double> over_levels(const std::vector<LevelReason>& levels, Explanation::Weight weight) {
  std::vector<double> sum(levels.front().weight.size(), 0.0);
  for (const LevelReason& level : levels)
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += level.weight[i];
  if (weight == Explanation::Weight::attention)
    for (double& s : sum) s /= static_cast<double>(levels.size());
  return sum;
}

std::string numbers_json(const std::vector<double>& numbers) {
  std::string out = "[";
  for (std::size_t i = 0; i < numbers.size(); ++i) out += str(i ? "," : "", json_number(numbers[i]));
  return out + "]";
}

}  // namespace

Reasons::Reasons(const Pipeline& pipeline, const Histories& histories, const RankRequest& request,
                 const Ranking& ranking, bool remembered)
    : pipeline_(pipeline), histories_(histories), ranking_(ranking) {
  Head& head = pipeline.head();
  Model& model = pipeline.model();
  if (!head.spec(model.spec()).explains) {
    silence_ = str("the head ", pipeline.config().section("head").plugin(),
                   " does not generate items level by level, so --explain compares identifiers alone");
    return;
  }
  if (remembered) {
    silence_ = "--explain reads a user's history, which --memory does without, so it compares identifiers alone";
    return;
  }
  std::vector<std::int32_t> items;
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    for (int r = 0; r < ranking.k && item(b, r) >= 0; ++r) items.push_back(item(b, r));
    offset_.push_back(std::ssize(items));
  }
  explanation_ = head.explain(model, histories, request, offset_, items);
}

// The identifier and the item of the history that shares most of it.
std::string Reasons::identifier(std::int64_t row, std::int32_t item) const {
  const Catalog& catalog = pipeline_.catalog();
  const auto own = catalog.codes_of(item);
  std::string out = "identifier";
  for (int l = 0; l < catalog.levels(); ++l)
    out += str(" ", catalog.level(l).name, "=", own[static_cast<std::size_t>(l)]);
  std::ptrdiff_t longest = 0;
  std::int32_t nearest = -1;
  for (const std::int32_t other : items_of(histories_, row)) {
    const auto codes = catalog.codes_of(other);
    const auto shared = std::mismatch(own.begin(), own.end(), codes.begin()).first - own.begin();
    if (shared > 0 && shared >= longest) longest = shared, nearest = other;
  }
  if (nearest < 0) return out + "; no item of the history shares its first code";
  return out + str("; shares the first ", longest, " of ", catalog.levels(), " codes with ",
                   pipeline_.data().items.ids[static_cast<std::size_t>(nearest)], " of the history");
}

std::string Reasons::levels_text(const std::vector<LevelReason>& levels) const {
  std::vector<std::vector<std::string>> rows{
      {"level", "code", "log-likelihood", "likelihood", "among those left", "removed by trie", "removed by filters"}};
  for (std::size_t l = 0; l < levels.size(); ++l) {
    const LevelReason& level = levels[l];
    rows.push_back({pipeline_.catalog().level(static_cast<int>(l)).name, level.code < 0 ? "-" : str(level.code),
                    fixed(level.log_likelihood, 3), fixed(std::exp(level.log_likelihood)),
                    fixed(std::exp(level.log_likelihood_left)), fixed(100.0 * level.trie_removed, 1) + " %",
                    fixed(100.0 * level.filters_removed, 1) + " %"});
  }
  std::string out;
  const std::string all = table(rows);
  for (std::size_t begin = 0; begin < all.size(); begin = all.find('\n', begin) + 1)
    out += kIndent + all.substr(begin, all.find('\n', begin) + 1 - begin);
  return out;
}

std::string Reasons::history_text(std::int64_t row, const std::vector<LevelReason>& levels) const {
  const bool attention = explanation_->weight == Explanation::Weight::attention;
  const Items& items = pipeline_.data().items;
  const auto history = items_of(histories_, row);
  if (history.empty()) return kIndent + "no history: the same for everybody\n";
  const std::vector<double> weight = over_levels(levels, explanation_->weight);
  std::vector<std::size_t> order(history.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return weight[i] > weight[j]; });
  std::string out = attention ? "attention on the history: " : "log-likelihood that the history adds: ";
  for (std::size_t n = 0; n < std::min(kShown, order.size()); ++n) {
    const std::size_t i = order[n];
    const auto number = static_cast<std::size_t>(history[i]);
    const auto most = std::max_element(levels.begin(), levels.end(),
                                       [&](const auto& a, const auto& b) { return a.weight[i] < b.weight[i]; }) -
                      levels.begin();
    const bool titled = !items.titles.empty() && !items.titles[number].empty();
    out += str(n ? "; " : "", titled ? items.titles[number] : items.ids[number], " ",
               attention || weight[i] < 0.0 ? "" : "+", fixed(weight[i], 3), " (most at ",
               pipeline_.catalog().level(static_cast<int>(most)).name, ")");
  }
  return kIndent + out + "\n";
}

std::string Reasons::text(std::int64_t row, int place) const {
  std::string first = kIndent + identifier(row, item(row, place)) + "\n";
  if (!explanation_) return first;
  const auto& levels = this->levels(row, place);
  return first + levels_text(levels) + history_text(row, levels);
}

std::string Reasons::json(std::int64_t row, int place) const {
  std::string out = ",\"why\":" + json_text(identifier(row, item(row, place)));
  if (!explanation_) return out;
  const auto& levels = this->levels(row, place);
  out += ",\"levels\":[";
  for (std::size_t l = 0; l < levels.size(); ++l)
    out += str(l ? "," : "", "{\"level\":", json_text(pipeline_.catalog().level(static_cast<int>(l)).name),
               ",\"code\":", levels[l].code, ",\"log_likelihood\":", json_number(levels[l].log_likelihood),
               ",\"log_likelihood_left\":", json_number(levels[l].log_likelihood_left),
               ",\"trie_removed\":", json_number(levels[l].trie_removed),
               ",\"filters_removed\":", json_number(levels[l].filters_removed),
               ",\"weights\":", numbers_json(levels[l].weight), "}");
  return out + "],\"weights\":" + numbers_json(over_levels(levels, explanation_->weight));
}

std::string Reasons::history_json(std::int64_t row) const {
  if (!explanation_) return "";
  std::string ids;
  for (const std::int32_t item : items_of(histories_, row))
    ids += (ids.empty() ? "" : ",") + json_text(pipeline_.data().items.ids[static_cast<std::size_t>(item)]);
  const bool attention = explanation_->weight == Explanation::Weight::attention;
  return str(",\"history\":[", ids, "],\"weighed_by\":\"", attention ? "attention" : "left_out", "\"");
}

}  // namespace tessera::cli
