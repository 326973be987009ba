#include "framework/catalog/trie.h"

#include <algorithm>
#include <limits>

#include "framework/catalog/order.h"
#include "tensor/core/error.h"

namespace tessera {
namespace {

std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

}  // namespace

Trie::Trie(std::span<const std::int32_t> codes, int levels) : levels_(levels) {
  check(levels >= 1, "trie: ", levels, " levels, expected 1 or more");
  check(codes.size() % at(levels) == 0, "trie: ", codes.size(), " codes are no multiple of ", levels, " levels");
  check(codes.size() < static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()), "trie: ", codes.size(),
        " codes are too many for 32-bit nodes");
  const auto order = order_by_codes(codes, levels);
  const auto shared = shared_prefixes(codes, levels, order);
  const std::size_t items = order.size();
  for (std::size_t i = 1; i < items; ++i)
    if (shared[i] == levels)
      throw Error(str("trie: items ", order[i - 1], " and ", order[i], " have the same codes ",
                      text_of_codes(codes.subspan(at(order[i]) * at(levels), at(levels))),
                      "; identifiers must differ: use the policy counter, popularity or repair"));

  // A place of the order begins a node at each depth beyond the prefix that it shares with the place before.
  level_begin_.assign(at(levels) + 2, 0);
  level_begin_[1] = 1;
  for (int depth = 1; depth <= levels; ++depth) {
    std::int32_t begun = 0;
    for (std::size_t i = 0; i < items; ++i) begun += (i == 0 || shared[i] < depth) ? 1 : 0;
    level_begin_[at(depth) + 1] = level_begin_[at(depth)] + begun;
  }
  const std::int32_t total = level_begin_.back();
  first_child_.assign(at(total) + 1, total - 1);
  code_.resize(at(total - 1));
  first_child_[0] = 0;
  for (int depth = 1; depth <= levels; ++depth) {
    std::int32_t node = level_begin_[at(depth)] - 1, child = level_begin_[at(depth) + 1] - 1;
    for (std::size_t i = 0; i < items; ++i) {
      if (i == 0 || shared[i] < depth) {
        code_[at(node)] = codes[at(order[i]) * at(levels) + at(depth) - 1];
        first_child_[at(++node)] = depth < levels ? child : total - 1;
      }
      if (i == 0 || shared[i] < depth + 1) ++child;
    }
  }
  item_ = order;
  leaf_.resize(items);
  for (std::size_t i = 0; i < items; ++i) leaf_[at(order[i])] = level_begin_[at(levels)] + static_cast<std::int32_t>(i);
}

Trie::Children Trie::children(std::int32_t node) const {
  if (node < 0 || node >= nodes()) throw Error(str("trie: node ", node, " is outside 0 .. ", nodes() - 1));
  const std::int32_t begin = first_child_[at(node)], end = first_child_[at(node) + 1];
  return {std::span<const std::int32_t>(code_).subspan(at(begin), at(end - begin)), begin + 1};
}

std::int32_t Trie::child(std::int32_t node, std::int32_t code) const {
  const Children list = children(node);
  const auto found = std::lower_bound(list.code.begin(), list.code.end(), code);
  if (found == list.code.end() || *found != code) return -1;
  return list.first + static_cast<std::int32_t>(found - list.code.begin());
}

std::int32_t Trie::item_of(std::int32_t leaf) const {
  if (levels_ == 0 || leaf < level_begin_[at(levels_)] || leaf >= nodes()) return -1;
  return item_[at(leaf - level_begin_[at(levels_)])];
}

std::int32_t Trie::leaf_of(std::int32_t item) const {
  if (item < 0 || at(item) >= leaf_.size())
    throw Error(str("trie: item ", item, " is outside 0 .. ", static_cast<std::int64_t>(leaf_.size()) - 1));
  return leaf_[at(item)];
}

std::int32_t Trie::nodes_at(int depth) const {
  if (depth < 0 || depth > levels_ || levels_ == 0)
    throw Error(str("trie: depth ", depth, " is outside 0 .. ", levels_));
  return level_begin_[at(depth) + 1] - level_begin_[at(depth)];
}

}  // namespace tessera
