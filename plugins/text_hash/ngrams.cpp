#include "plugins/text_hash/ngrams.h"

#include <algorithm>
#include <string>

namespace tessera::text_hash {
namespace {

std::uint64_t hash(std::string_view text) {  // FNV-1a, then mixed so that low bits are as good as high ones
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdull;
  return h ^ h >> 33;
}

char letter(char c) {  // 0: separates words
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c - 'A' + 'a');
  const bool keep = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) > 127;
  return keep ? c : '\0';
}

// " word word " and the place of each blank.
std::string normalise(std::string_view text, std::vector<std::size_t>& blanks) {
  std::string out = " ";
  blanks = {0};
  for (const char c : text) {
    if (const char kept = letter(c)) {
      out += kept;
    } else if (out.back() != ' ') {
      blanks.push_back(out.size());
      out += ' ';
    }
  }
  if (out.back() != ' ') {
    blanks.push_back(out.size());
    out += ' ';
  }
  return out;
}

}  // namespace

std::vector<Count> count_ngrams(std::string_view text, const NgramOptions& options) {
  std::vector<std::size_t> blanks;
  const std::string words = normalise(text, blanks);
  std::vector<std::int32_t> buckets;
  const auto add = [&](std::string_view gram, bool characters) {
    const auto half = static_cast<std::uint64_t>(options.buckets / 2);
    buckets.push_back(static_cast<std::int32_t>(2 * (hash(gram) % half) + (characters ? 1 : 0)));
  };
  const std::string_view view = words;
  for (std::size_t w = 0; w + 1 < blanks.size(); ++w) {
    for (std::size_t n = 1; n <= static_cast<std::size_t>(options.words) && w + n < blanks.size(); ++n)
      add(view.substr(blanks[w], blanks[w + n] - blanks[w]), false);
    const std::string_view word = view.substr(blanks[w], blanks[w + 1] - blanks[w] + 1);  // with both blanks
    for (auto n = static_cast<std::size_t>(options.shortest); n <= static_cast<std::size_t>(options.longest); ++n)
      for (std::size_t begin = 0; begin + n <= word.size(); ++begin) add(word.substr(begin, n), true);
  }
  std::sort(buckets.begin(), buckets.end());
  std::vector<Count> counts;
  for (const std::int32_t bucket : buckets) {
    if (counts.empty() || counts.back().bucket != bucket) counts.push_back({bucket, 0, bucket % 2 == 1});
    ++counts.back().count;
  }
  return counts;
}

}  // namespace tessera::text_hash
