#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/catalog/tokens.h"
#include "framework/catalog/trie.h"
#include "tensor/core/export.h"

namespace tessera {

// How codes become unique identifiers:
//   none        as they are; several items may share an identifier (click models, item vectors)
//   counter     one more level: 0, 1, .. inside a collision group, in item order (TIGER)
//   popularity  one more level: rank by training interactions, most popular first, ties by item number (MMGRec)
//   repair      colliding items take other codes on the last level: the free assignment of least total distance, by
//   optimal
//               transport over the last level's distances (LC-Rec's idea); what cannot be repaired gets a counter level
enum class CollisionPolicy { none, counter, popularity, repair };
TESSERA_API CollisionPolicy parse_collision_policy(const std::string& name);
TESSERA_API const char* name_of(CollisionPolicy policy);

// Identifiers of the items, their trie, and the numbering of tokens: token = token_offset(level) + code, so that each
// level has rows of its own in one embedding table. Immutable after construction; safe to read from many threads.
class TESSERA_API Catalog {
 public:
  // popularity: (I) training counts. last_level_distances: (I, K) squared distances to the last codebook, for `repair`
  // only.
  Catalog(ItemTokens tokens, CollisionPolicy policy, std::span<const std::int64_t> popularity,
          const Tensor& last_level_distances = {});

  std::int64_t items() const { return items_; }
  int levels() const { return static_cast<int>(levels_.size()); }  // L, the policy's level included
  const TokenLevel& level(int l) const { return levels_[static_cast<std::size_t>(l)]; }
  std::span<const std::int32_t> codes() const { return codes_; }    // (I, L)
  std::span<const std::int32_t> codes_of(std::int32_t item) const;  // (L); throws Error outside the catalogue
  int token_offset(int level) const { return token_offset_[static_cast<std::size_t>(level)]; }
  int tokens() const { return token_offset_.back(); }                              // V: codes of all levels together
  std::vector<std::int32_t> tokens_of(std::span<const std::int32_t> items) const;  // (n, L) tokens; -1 for absent codes
  bool unique() const { return unique_; }  // every identifier belongs to one item
  CollisionPolicy policy() const { return policy_; }
  const Trie& trie() const;                                     // leaves hold items; throws Error where not unique()
  const Tensor& item_vectors() const { return item_vectors_; }  // the tokenizer's, or empty
  const Tensor& user_vectors() const { return user_vectors_; }
  // (tokens(), D') the tokenizer's, zeros for the policy's own level; or empty.
  const Tensor& token_vectors() const { return token_vectors_; }

 private:
  void add_level(TokenLevel level, std::span<const std::int32_t> code);
  std::int64_t items_ = 0;
  std::vector<TokenLevel> levels_;
  std::vector<std::int32_t> codes_;
  std::vector<int> token_offset_;
  CollisionPolicy policy_;
  bool unique_ = false;
  Trie trie_;
  Tensor item_vectors_, user_vectors_, token_vectors_;
};

}  // namespace tessera
