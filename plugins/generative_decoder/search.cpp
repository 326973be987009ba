#include "plugins/generative_decoder/search.h"

#include <algorithm>
#include <limits>

#include "tensor/core/parallel.h"

namespace tessera {
namespace {

constexpr std::int64_t kPrefixesTogether = 16384;

struct Prefix {
  double score = 0.0;
  std::int32_t node = 0, parent = 0, code = 0;  // parent: number of the prefix of the level before
};

bool better(const Prefix& a, const Prefix& b) { return a.score > b.score || (a.score == b.score && a.node < b.node); }
bool earlier(const Prefix& a, const Prefix& b) { return a.node < b.node; }

// The best `most` of many prefixes, whatever the order in which they come: kept in a list of twice that length at most.
class Kept {
 public:
  Kept(std::size_t most, std::vector<Prefix>& list) : most_(most), list_(list) {}
  bool too_low(double score) const { return score < floor_; }
  template <class Better>
  void add(const Prefix& prefix, const Better& is_better) {
    list_.push_back(prefix);
    if (list_.size() / 2 >= most_) cut(is_better);
  }
  template <class Better>
  void cut(const Better& is_better) {
    if (list_.size() <= most_) return;
    const auto worst = list_.begin() + static_cast<std::ptrdiff_t>(most_) - 1;
    std::nth_element(list_.begin(), worst, list_.end(), is_better);
    floor_ = worst->score;
    list_.resize(most_);
  }

 private:
  std::size_t most_;
  std::vector<Prefix>& list_;
  double floor_ = -std::numeric_limits<double>::infinity();
};

// Prefixes of all rows at one level, in order of row and node.
struct Level {
  std::vector<std::vector<Prefix>> rows;
  std::vector<std::int32_t> begin;  // number of each row's first prefix

  explicit Level(std::int64_t count) : rows(static_cast<std::size_t>(count)) {}
  void number() {
    begin.assign(1, 0);
    for (const auto& row : rows) begin.push_back(begin.back() + static_cast<std::int32_t>(row.size()));
  }
  Step step(int level, std::int64_t first_row) const {
    Step step;
    step.level = level;
    for (std::size_t b = 0; b < rows.size(); ++b)
      for (const Prefix& prefix : rows[b]) {
        step.row.push_back(static_cast<std::int32_t>(first_row + static_cast<std::int64_t>(b)));
        if (level == 0) continue;
        step.parent.push_back(prefix.parent);
        step.code.push_back(prefix.code);
      }
    return step;
  }
};

Level roots(std::int64_t rows, std::int32_t root) {
  Level level(rows);
  for (auto& row : level.rows) row.assign(1, Prefix{0.0, root, 0, 0});
  level.number();
  return level;
}

// wanted[l][b]: the distinct prefixes of length l + 1 of the items of row first + b, ascending.
using Wanted = std::vector<std::vector<std::vector<std::int32_t>>>;

Wanted wanted_prefixes(const CountedTrie& trie, std::int64_t first, std::int64_t end,
                       std::span<const std::int64_t> offset, std::span<const std::int32_t> items) {
  Wanted wanted(static_cast<std::size_t>(trie.trie().levels()));
  for (auto& level : wanted) level.resize(static_cast<std::size_t>(end - first));
  for (std::int64_t row = first; row < end; ++row) {
    std::vector<std::int32_t> nodes;
    for (std::int64_t i = offset[static_cast<std::size_t>(row)]; i < offset[static_cast<std::size_t>(row) + 1]; ++i)
      nodes.push_back(trie.trie().leaf_of(items[static_cast<std::size_t>(i)]));
    std::sort(nodes.begin(), nodes.end());
    for (std::size_t l = wanted.size(); l-- > 0;) {
      nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
      wanted[l][static_cast<std::size_t>(row - first)] = nodes;
      for (auto& node : nodes) node = trie.parent(node);
    }
  }
  return wanted;
}

}  // namespace

std::int64_t Search::rows_together(std::int64_t prefixes) {
  return std::max<std::int64_t>(1, kPrefixesTogether / std::max<std::int64_t>(1, prefixes));
}

Search::Found Search::best(Decoding& decoding, std::int64_t first, std::int64_t end, const RankRequest& request,
                           const Filter& filter, std::int64_t width) const {
  const Trie& trie = trie_.trie();
  const int levels = table_.levels();
  Level now = roots(end - first, trie.root());
  for (int l = 0; l < levels; ++l) {
    const LevelScores scores = decoding.advance(now.step(l, first));
    const bool last = l + 1 == levels;
    const auto keep = static_cast<std::size_t>(last        ? request.k
                                               : width > 0 ? width
                                                           : std::numeric_limits<std::int32_t>::max());
    Level next(end - first);
    parallel_for(end - first, [&](std::int64_t row) {
      const auto b = static_cast<std::size_t>(row);
      const Filter::Row open(filter, first + row);
      // Answers are compared as they are reported, in f32, ties to the smaller item number.
      const auto better_item = [&](const Prefix& x, const Prefix& y) {
        return x.score > y.score || (x.score == y.score && trie.item_of(x.node) < trie.item_of(y.node));
      };
      Kept found(keep, next.rows[b]);
      std::vector<double> log_p;
      for (std::size_t i = 0; i < now.rows[b].size(); ++i) {
        const Prefix& prefix = now.rows[b][i];
        const std::int32_t number = now.begin[b] + static_cast<std::int32_t>(i);
        const Trie::Children children = trie.children(prefix.node);
        log_p.resize(children.code.size());
        scores.children(number, children, log_p.data());
        for (std::size_t c = 0; c < children.code.size(); ++c) {
          const double exact = prefix.score + log_p[c], score = last ? static_cast<float>(exact) : exact;
          const std::int32_t node = children.first + static_cast<std::int32_t>(c);
          if (found.too_low(score) || !open.open(node)) continue;
          const Prefix child{score, node, number, children.code[c]};
          last ? found.add(child, better_item) : found.add(child, better);
        }
      }
      last ? found.cut(better_item) : found.cut(better);
      last ? std::sort(next.rows[b].begin(), next.rows[b].end(), better_item)
           : std::sort(next.rows[b].begin(), next.rows[b].end(), earlier);
    });
    next.number();
    now = std::move(next);
    if (now.begin.back() == 0) break;
  }
  Found found;
  for (const auto& row : now.rows) {
    for (const Prefix& leaf : row) {
      found.item.push_back(trie.item_of(leaf.node));
      found.score.push_back(static_cast<float>(leaf.score));
    }
    found.offset.push_back(static_cast<std::int64_t>(found.item.size()));
  }
  return found;
}

Search::Found Search::free(Decoding& decoding, std::int64_t first, std::int64_t end, const RankRequest& request,
                           const Filter& filter, std::int64_t width, const std::vector<std::int64_t>& codes) const {
  const Trie& trie = trie_.trie();
  const auto by_score = [](const Prefix& a, const Prefix& b) {
    return a.score != b.score ? a.score > b.score : a.parent != b.parent ? a.parent < b.parent : a.code < b.code;
  };
  Level now = roots(end - first, trie.root());
  for (std::size_t l = 0; l < codes.size(); ++l) {
    const LevelScores scores = decoding.advance(now.step(static_cast<int>(l), first));
    const bool last = l + 1 == codes.size();
    Level next(end - first);
    parallel_for(end - first, [&](std::int64_t row) {
      const auto b = static_cast<std::size_t>(row);
      const Filter::Row open(filter, first + row);
      Kept found(static_cast<std::size_t>(last ? request.k : width), next.rows[b]);
      std::vector<double> log_p(static_cast<std::size_t>(codes[l]));
      for (std::size_t i = 0; i < now.rows[b].size(); ++i) {
        const Prefix& prefix = now.rows[b][i];
        const std::int32_t number = now.begin[b] + static_cast<std::int32_t>(i);
        scores.all(number, codes[l], log_p.data());
        for (std::int32_t code = 0; code < codes[l]; ++code) {
          const double score = prefix.score + log_p[static_cast<std::size_t>(code)];
          if (found.too_low(score)) continue;
          const std::int32_t node = prefix.node < 0 ? -1 : trie.child(prefix.node, code);
          if (last && node >= 0 && !open.open(node)) continue;
          found.add({score, node, number, code}, by_score);
        }
      }
      found.cut(by_score);
      std::sort(next.rows[b].begin(), next.rows[b].end(), by_score);
    });
    next.number();
    now = std::move(next);
  }
  Found found;
  for (const auto& row : now.rows) {
    for (const Prefix& leaf : row) {
      found.item.push_back(leaf.node < 0 ? -1 : trie.item_of(leaf.node));
      found.score.push_back(static_cast<float>(leaf.score));
    }
    found.offset.push_back(static_cast<std::int64_t>(found.item.size()));
  }
  return found;
}

std::vector<float> Search::score(Decoding& decoding, std::int64_t first, std::int64_t end,
                                 std::span<const std::int64_t> offset, std::span<const std::int32_t> items,
                                 const Witness& witness) const {
  const Trie& trie = trie_.trie();
  const int levels = table_.levels();
  const Wanted wanted = wanted_prefixes(trie_, first, end, offset, items);
  Level now = roots(end - first, trie.root());
  for (int l = 0; l < levels && now.begin.back() > 0; ++l) {
    const LevelScores scores = decoding.advance(now.step(l, first));
    Level next(end - first);
    parallel_for(end - first, [&](std::int64_t row) {
      const auto b = static_cast<std::size_t>(row);
      auto node = wanted[static_cast<std::size_t>(l)][b].begin();
      const auto last = wanted[static_cast<std::size_t>(l)][b].end();
      std::vector<double> log_p;
      for (std::size_t i = 0; i < now.rows[b].size(); ++i) {  // both lists ascend
        const Prefix& prefix = now.rows[b][i];
        const std::int32_t number = now.begin[b] + static_cast<std::int32_t>(i);
        const Trie::Children children = trie.children(prefix.node);
        log_p.resize(children.code.size());
        scores.children(number, children, log_p.data());
        for (; node != last && trie_.parent(*node) == prefix.node; ++node) {
          const auto c = static_cast<std::size_t>(*node - children.first);
          if (witness) witness({l, first + row, number, c, scores, children, log_p});
          next.rows[b].push_back({prefix.score + log_p[c], *node, number, children.code[c]});
        }
      }
    });
    next.number();
    now = std::move(next);
    // A row without items has no prefixes from here on.
  }
  std::vector<float> result;
  for (std::int64_t row = first; row < end; ++row) {
    const auto& leaves = now.rows[static_cast<std::size_t>(row - first)];
    for (std::int64_t i = offset[static_cast<std::size_t>(row)]; i < offset[static_cast<std::size_t>(row) + 1]; ++i) {
      Prefix wanted_leaf;
      wanted_leaf.node = trie.leaf_of(items[static_cast<std::size_t>(i)]);
      result.push_back(static_cast<float>(std::lower_bound(leaves.begin(), leaves.end(), wanted_leaf, earlier)->score));
    }
  }
  return result;
}

}  // namespace tessera
