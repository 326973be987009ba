#include "plugins/generative_decoder/explain.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "tensor/core/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kItemsTogether = 16384;  // of histories that lack an item each

// By row of a part of the batch, by the node that a choice leads to.
using Choices = std::vector<std::unordered_map<std::int32_t, LevelReason>>;

LevelReason reason_of(const Search::Choice& choice, const Filter& filter) {
  const auto node = [&](std::size_t c) { return choice.children.first + static_cast<std::int32_t>(c); };
  const Filter::Row row(filter, choice.row);
  LevelReason reason;
  reason.code = choice.children.code[choice.taken];
  reason.log_likelihood = choice.log_p[choice.taken];
  double left = 0.0;
  for (std::size_t c = 0; c < choice.log_p.size(); ++c)
    (row.open(node(c)) ? left : reason.filters_removed) += std::exp(choice.log_p[c]);
  left = std::min(left, 1.0);  // the normaliser is rounded to f32
  reason.filters_removed = std::min(reason.filters_removed, 1.0);
  reason.trie_removed = choice.scores.outside(choice.prefix, choice.children);
  reason.log_likelihood_left = row.open(node(choice.taken)) ? std::min(0.0, reason.log_likelihood - std::log(left))
                                                            : -std::numeric_limits<double>::infinity();
  return reason;
}

// Which item of row b, counted from its oldest, each state of the row stands for: the items that the model read have as
// many states each, in their order.
std::vector<std::size_t> items_of_states(const Memory& memory, const Histories& histories, std::int64_t b) {
  const auto row = static_cast<std::size_t>(b);
  const auto begin = static_cast<std::size_t>(histories.offset[row]),
             count = static_cast<std::size_t>(histories.offset[row + 1]) - begin,
             states = static_cast<std::size_t>(memory.offset[row + 1] - memory.offset[row]);
  std::vector<std::size_t> read;
  for (std::size_t i = 0; i < count; ++i)
    if (!memory.item_row.empty() && memory.item_row[begin + i] >= 0) read.push_back(i);
  if (read.empty())  // row i is item i
    for (std::size_t i = 0; i < count; ++i) read.push_back(i);
  check(read.empty() ? states == 0 : states % read.size() == 0, "generative_decoder: the model made ", states,
        " states of ", read.size(), " items; attention on them cannot be told by items");
  std::vector<std::size_t> item(states);
  for (std::size_t s = 0; s < states; ++s) item[s] = read[s * read.size() / states];
  return item;
}

std::vector<double> weights_of(std::span<const double> attention, const std::vector<std::size_t>& item,
                               std::size_t items) {
  std::vector<double> weight(items, 0.0);
  for (std::size_t s = 0; s < attention.size(); ++s) weight[item[s]] += attention[s];
  return weight;
}

// Row b from `begin` on, without one item.
void add_without(Histories& out, const Histories& from, std::int64_t b, std::int64_t begin, std::int64_t left_out) {
  const std::int64_t end = from.offset[static_cast<std::size_t>(b) + 1];
  const auto take = [&](const auto& column, auto& to) {
    if (column.empty()) return;
    to.insert(to.end(), column.begin() + begin, column.begin() + left_out);
    to.insert(to.end(), column.begin() + left_out + 1, column.begin() + end);
  };
  take(from.item, out.item);
  take(from.time, out.time);
  take(from.action, out.action);
  out.user.push_back(from.user[static_cast<std::size_t>(b)]);
  out.offset.push_back(out.size());
}

// The choices that lead to an item, from the first level on.
template <class Visit>
void along(const CountedTrie& trie, std::int32_t item, const Visit& visit) {
  std::int32_t node = trie.trie().leaf_of(item);
  for (int l = trie.trie().levels(); l-- > 0; node = trie.parent(node)) visit(static_cast<std::size_t>(l), node);
}

}  // namespace

Explanation Explainer::explain(const Histories& histories, const RankRequest& request,
                               std::span<const std::int64_t> offset, std::span<const std::int32_t> items) const {
  const Memory memory = read_(histories);
  const auto decoding = form_.decode(model_, memory);
  const bool attends = decoding->keep_attention();
  const Filter filter(trie_, request);
  Explanation explanation;
  explanation.weight = attends ? Explanation::Weight::attention : Explanation::Weight::left_out;
  std::int64_t most = 1;
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) most = std::max(most, offset[b + 1] - offset[b]);
  const std::int64_t rows = histories.rows(), together = Search::rows_together(trie_.most_prefixes(most));
  for (std::int64_t first = 0; first < rows; first += together) {
    const std::int64_t end = std::min(rows, first + together);
    Choices choices(static_cast<std::size_t>(end - first));
    search_.score(*decoding, first, end, offset, items, [&](const Search::Choice& choice) {
      LevelReason reason = reason_of(choice, filter);
      if (attends)
        reason.weight = weights_of(decoding->attention(choice.prefix), items_of_states(memory, histories, choice.row),
                                   static_cast<std::size_t>(histories.offset[static_cast<std::size_t>(choice.row) + 1] -
                                                            histories.offset[static_cast<std::size_t>(choice.row)]));
      choices[static_cast<std::size_t>(choice.row - first)].emplace(
          choice.children.first + static_cast<std::int32_t>(choice.taken), std::move(reason));
    });
    for (std::int64_t b = first; b < end; ++b) {
      const auto begin = static_cast<std::size_t>(offset[static_cast<std::size_t>(b)]),
                 count = static_cast<std::size_t>(offset[static_cast<std::size_t>(b) + 1]) - begin;
      for (const std::int32_t item : items.subspan(begin, count)) {
        auto& levels = explanation.items.emplace_back(static_cast<std::size_t>(trie_.trie().levels()));
        along(trie_, item, [&](std::size_t l, std::int32_t node) {
          levels[l] = choices[static_cast<std::size_t>(b - first)].at(node);
        });
      }
      if (!attends) leave_out(histories, b, items.subspan(begin, count), std::span(explanation.items).subspan(begin));
    }
  }
  return explanation;
}

void Explainer::leave_out(const Histories& histories, std::int64_t b, std::span<const std::int32_t> items,
                          std::span<std::vector<LevelReason>> reasons) const {
  const std::int64_t oldest = histories.offset[static_cast<std::size_t>(b)],
                     end = histories.offset[static_cast<std::size_t>(b) + 1], limit = model_.spec().max_items;
  // Were an unread item left to move up into the place of the one left out, two things would change at once.
  const std::int64_t begin = limit > 0 ? std::max(oldest, end - limit) : oldest;
  for (auto& levels : reasons.first(items.size()))
    for (LevelReason& reason : levels) reason.weight.assign(static_cast<std::size_t>(end - oldest), 0.0);
  const std::int64_t together =
      std::min(Search::rows_together(trie_.most_prefixes(std::max<std::int64_t>(1, std::ssize(items)))),
               std::max<std::int64_t>(1, kItemsTogether / std::max<std::int64_t>(1, end - begin)));
  for (std::int64_t first = begin; first < end; first += together) {
    const std::int64_t last = std::min(end, first + together);
    Histories without;
    std::vector<std::int64_t> offset{0};
    std::vector<std::int32_t> wanted;
    for (std::int64_t i = first; i < last; ++i) {
      add_without(without, histories, b, begin, i);
      wanted.insert(wanted.end(), items.begin(), items.end());
      offset.push_back(std::ssize(wanted));
    }
    std::vector<std::unordered_map<std::int32_t, double>> log_p(static_cast<std::size_t>(last - first));
    const Memory memory = read_(without);
    const auto decoding = form_.decode(model_, memory);
    search_.score(*decoding, 0, last - first, offset, wanted, [&](const Search::Choice& choice) {
      log_p[static_cast<std::size_t>(choice.row)].emplace(
          choice.children.first + static_cast<std::int32_t>(choice.taken), choice.log_p[choice.taken]);
    });
    for (std::size_t a = 0; a < items.size(); ++a)
      along(trie_, items[a], [&](std::size_t l, std::int32_t node) {
        LevelReason& reason = reasons[a][l];
        for (std::int64_t i = first; i < last; ++i)
          reason.weight[static_cast<std::size_t>(i - oldest)] =
              reason.log_likelihood - log_p[static_cast<std::size_t>(i - first)].at(node);
      });
  }
}

}  // namespace tessera
