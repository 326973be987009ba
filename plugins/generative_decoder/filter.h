#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "framework/catalog/trie.h"
#include "framework/roles/head.h"

namespace tessera {

// The trie with, under each node, the number of its items. Made once for a catalogue.
class CountedTrie {
 public:
  explicit CountedTrie(const Trie& trie, std::int64_t items);
  const Trie& trie() const { return trie_; }
  std::int64_t items() const { return items_; }
  std::int32_t parent(std::int32_t node) const { return parent_[static_cast<std::size_t>(node)]; }  // -1 of the root
  std::span<const std::int32_t> leaves() const { return leaves_; }                                  // (nodes)
  // The most prefixes that a row keeps at a level, with a beam of `width` (0: all).
  std::int64_t most_prefixes(std::int64_t width) const;
  // Items under each node that the mask allows.
  std::vector<std::int32_t> leaves_allowed(std::span<const std::uint8_t> allowed) const;

 private:
  const Trie& trie_;
  std::int64_t items_;
  std::vector<std::int32_t> parent_, leaves_;
};

// Which nodes still lead to an item that a row may get. A prefix whose items are all excluded would hold a place in the
// beam and give nothing, so it is never expanded; that is why a beam of width k or more always fills k answers where k
// items are left.
class Filter {
 public:
  Filter(const CountedTrie& trie, const RankRequest& request);

  // The view of one row. Lives on one thread; borrows that thread's marks until it is destroyed.
  class Row {
   public:
    Row(const Filter& filter, std::int64_t row);
    ~Row();
    Row(const Row&) = delete;
    Row& operator=(const Row&) = delete;
    bool open(std::int32_t node) const {
      const auto at = static_cast<std::size_t>(node);
      return leaves_[at] > (marks_ ? marks_[at] : 0);
    }

   private:
    void mark(std::int32_t item, std::int32_t change);
    const Filter& filter_;
    std::span<const std::int32_t> leaves_, excluded_;
    std::int32_t* marks_ = nullptr;
  };

 private:
  const CountedTrie& trie_;
  const RankRequest& request_;
  std::vector<std::int32_t> allowed_leaves_;  // (nodes), or empty: all
  std::span<const std::int32_t> leaves_;
};

}  // namespace tessera
