#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

struct TokenLevel {
  std::string name;      // "text/0", "shared/1", "rank"
  int codes = 0;         // K of this level
  std::string modality;  // "" where it belongs to all
};

// What a fitted tokenizer knows of a catalogue. Codes alone need not be unique; the Catalog makes them so.
struct ItemTokens {
  std::vector<TokenLevel> levels;   // L
  std::vector<std::int32_t> codes;  // (I, L), -1 where the item lacks the modality
  Tensor item_vectors;              // (I, D) where the tokenizer learnt them, or empty
  Tensor user_vectors;              // (U, D) likewise
  // (V, D') where the tokenizer has them, or empty: a row for each code of each level, level by level. The rows of an
  // item's codes add up to its features as the codes rebuild them, without their mean.
  Tensor token_vectors;
  int level_count() const { return static_cast<int>(levels.size()); }
  std::int64_t items() const { return levels.empty() ? 0 : static_cast<std::int64_t>(codes.size() / levels.size()); }
};

}  // namespace tessera
