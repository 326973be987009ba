#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// The prefix tree of all identifiers, in CSR: the children of a node are consecutive, sorted by code. Nodes are
// numbered level by level, the root is 0; the leaves, at depth L, are numbered so that item_of(leaf) is a look-up.
class TESSERA_API Trie {
 public:
  Trie() = default;
  // codes: (I, L), all rows different. An absent code (-1) is a code of its own, ordered before 0.
  Trie(std::span<const std::int32_t> codes, int levels);

  struct Children {
    std::span<const std::int32_t> code;  // ascending
    std::int32_t first = 0;              // node of code[0]; the others follow
  };
  Children children(std::int32_t node) const;
  std::int32_t child(std::int32_t node, std::int32_t code) const;  // -1: no item continues so
  std::int32_t item_of(std::int32_t leaf) const;                   // -1 for inner nodes
  std::int32_t leaf_of(std::int32_t item) const;
  std::int32_t root() const { return 0; }
  int levels() const { return levels_; }
  std::int32_t nodes() const { return static_cast<std::int32_t>(first_child_.empty() ? 0 : first_child_.size() - 1); }
  std::int32_t nodes_at(int depth) const;  // distinct prefixes of this length

 private:
  int levels_ = 0;
  std::vector<std::int32_t>
      first_child_;  // (nodes + 1) position of the node's children in code_; child c is node code position + 1
  std::vector<std::int32_t> code_;         // code of node i + 1
  std::vector<std::int32_t> level_begin_;  // first node of each depth, and the end
  std::vector<std::int32_t> item_, leaf_;
};

}  // namespace tessera
