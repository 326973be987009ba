#pragma once

#include <cstdint>
#include <memory>

#include "framework/config/config.h"
#include "framework/roles/tokenizer.h"

namespace digits {

struct TokenizerOptions {
  int base = 32;
  std::uint32_t shuffle_seed = 0;

  template <class V>
  void describe(V& v) {
    v("base", base, "codes a level: the base that item numbers are written in", 2, 65536);
    v("shuffle_seed", shuffle_seed, "order of the items before they are numbered; 0: as they came", 0, 1000000);
  }
};

// Identifiers without meaning: the digits of the item's number. The yardstick that learnt codes have to beat.
std::unique_ptr<tessera::Tokenizer> make_tokenizer(const TokenizerOptions& options, const tessera::Section& section);

}  // namespace digits
