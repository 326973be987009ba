#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tessera::text_hash {

struct NgramOptions {
  int words = 2;                  // word n-grams of 1 .. words words
  int shortest = 3, longest = 5;  // character n-grams within a word and its blanks; longest 0: none
  std::int64_t buckets = 1 << 20;
};

// How often a bucket's n-grams occur in a text.
struct Count {
  std::int32_t bucket = 0;
  std::int32_t count = 0;
  bool characters = false;  // of character n-grams; else of words
};

// The n-grams of a text, hashed (words into even buckets, characters into odd ones), sorted by bucket. Letters are
// ASCII letters in lower case, digits, and every byte above 127, so any UTF-8 text gives words; everything else
// separates them.
std::vector<Count> count_ngrams(std::string_view text, const NgramOptions& options);

}  // namespace tessera::text_hash
