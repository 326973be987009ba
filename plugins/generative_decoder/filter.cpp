#include "plugins/generative_decoder/filter.h"

#include <algorithm>

#include "tensor/core/error.h"

namespace tessera {

CountedTrie::CountedTrie(const Trie& trie, std::int64_t items)
    : trie_(trie), items_(items), parent_(static_cast<std::size_t>(trie.nodes()), -1) {
  for (std::int32_t node = 0; node < trie.nodes(); ++node) {
    if (trie.item_of(node) >= 0) continue;
    const Trie::Children children = trie.children(node);
    for (std::size_t c = 0; c < children.code.size(); ++c) parent_[static_cast<std::size_t>(children.first) + c] = node;
  }
  leaves_ = leaves_allowed({});
}

std::vector<std::int32_t> CountedTrie::leaves_allowed(std::span<const std::uint8_t> allowed) const {
  std::vector<std::int32_t> leaves(parent_.size());
  for (std::int64_t item = 0; item < items_; ++item)
    if (allowed.empty() || allowed[static_cast<std::size_t>(item)] != 0)
      leaves[static_cast<std::size_t>(trie_.leaf_of(static_cast<std::int32_t>(item)))] = 1;
  // A parent's number is smaller than its children's.
  for (std::size_t node = leaves.size(); node-- > 1;) leaves[static_cast<std::size_t>(parent_[node])] += leaves[node];
  return leaves;
}

std::int64_t CountedTrie::most_prefixes(std::int64_t width) const {
  std::int64_t most = 1;
  for (int depth = 1; depth < trie_.levels(); ++depth) most = std::max<std::int64_t>(most, trie_.nodes_at(depth));
  return width > 0 ? std::min(width, most) : most;
}

Filter::Filter(const CountedTrie& trie, const RankRequest& request)
    : trie_(trie), request_(request), leaves_(trie.leaves()) {
  check(request.allowed.empty() || static_cast<std::int64_t>(request.allowed.size()) == trie.items(),
        "generative_decoder: the allowed mask has ", request.allowed.size(), " entries for ", trie.items(), " items");
  for (const std::int32_t item : request.excluded)
    check(item >= 0 && item < trie.items(), "generative_decoder: excluded item ", item, ", expected 0 to ",
          trie.items() - 1);
  if (request.allowed.empty()) return;
  allowed_leaves_ = trie.leaves_allowed(request.allowed);
  leaves_ = allowed_leaves_;
}

Filter::Row::Row(const Filter& filter, std::int64_t row) : filter_(filter), leaves_(filter.leaves_) {
  const RankRequest& request = filter.request_;
  if (request.excluded_offset.empty()) return;
  const auto begin = static_cast<std::size_t>(request.excluded_offset[static_cast<std::size_t>(row)]);
  const auto end = static_cast<std::size_t>(request.excluded_offset[static_cast<std::size_t>(row) + 1]);
  excluded_ = std::span(request.excluded).subspan(begin, end - begin);
  if (excluded_.empty()) return;
  // All zeros between two rows: the destructor takes back what the constructor marked.
  thread_local std::vector<std::int32_t> marks;
  if (marks.size() < leaves_.size()) marks.resize(leaves_.size(), 0);
  marks_ = marks.data();
  for (const std::int32_t item : excluded_) mark(item, 1);
}

Filter::Row::~Row() {
  if (marks_)
    for (const std::int32_t item : excluded_) mark(item, -1);
}

void Filter::Row::mark(std::int32_t item, std::int32_t change) {
  const CountedTrie& trie = filter_.trie_;
  std::int32_t node = trie.trie().leaf_of(item);
  const auto leaf = static_cast<std::size_t>(node);
  // An item named twice counts once; one that the mask forbids is not under any node's count.
  if (leaves_[leaf] == 0 || (change > 0) == (marks_[leaf] > 0)) return;
  for (; node >= 0; node = trie.parent(node)) marks_[static_cast<std::size_t>(node)] += change;
}

}  // namespace tessera
