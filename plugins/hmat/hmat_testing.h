#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "framework/nn/pair_testing.h"

// What the tests of this plugin share: its variants, and histories with actions and times.
namespace tessera::testing {

inline Registry& plugins() { return registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

inline const std::string kSmall =
    "plugin = \"hmat\"\nwidth = 16\nlayers = 3\nheads = 2\nffn = 24\nmax_items = 9\ndeviation = 0.3\ndropout = 0.0\n";
inline const std::string kDot = "plugin = \"dot_product\"";

struct Variant {
  std::string name, model;
};
inline const Variant kVariants[] = {
    {"base", kSmall},
    {"both ways, layer norm", kSmall + "mask = \"both_ways\"\nnorm = \"layer\"\nactivation = \"silu\""},
    {"local anchors, one ladder", kSmall + "mask = \"local_anchors\"\npositions = \"one_ladder\"\nbias = false"},
    {"item anchors", kSmall + "mask = \"item_anchors\"\nitem_base = 100.0"},
    {"full, flat", kSmall + "mask = \"full\"\npositions = \"flat\""},
    {"identifiers, no positions", kSmall + "identifiers = 11\npositions = \"none\"\nhead_width = 6"},
    {"full", kSmall + "mask = \"full\""},
    {"pooled tokens", kSmall + "pooled_tokens = true\nidentifiers = 11"},
};

// Actions 0 and 1, and times with gaps of seconds to months.
inline Histories with_events(Histories histories, std::uint64_t seed = 5) {
  Random random(seed, stream_of("events"));
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    std::int64_t time = 1'000'000'000;
    for (std::int64_t i = histories.offset[static_cast<std::size_t>(b)];
         i < histories.offset[static_cast<std::size_t>(b) + 1]; ++i) {
      histories.action.push_back(static_cast<std::int8_t>(random.below(2)));
      histories.time.push_back(time += std::int64_t{1} << random.below(24));
    }
  }
  return histories;
}

// Items begin .. end - 1 of each row.
inline Histories part_of(const Histories& all, const std::vector<int>& begin, const std::vector<int>& end) {
  Histories part;
  for (std::size_t b = 0; b < begin.size(); ++b) {
    part.user.push_back(all.user[b]);
    const std::int64_t from = all.offset[b] + begin[b], to = all.offset[b] + end[b];
    part.item.insert(part.item.end(), all.item.begin() + from, all.item.begin() + to);
    if (!all.action.empty()) part.action.insert(part.action.end(), all.action.begin() + from, all.action.begin() + to);
    if (!all.time.empty()) part.time.insert(part.time.end(), all.time.begin() + from, all.time.begin() + to);
    part.offset.push_back(part.size());
  }
  return part;
}

inline Candidates candidates_of(const Pair& pair, const std::vector<std::int32_t>& row,
                                const std::vector<std::int32_t>& item) {
  Candidates candidates;
  candidates.row = row;
  candidates.tokens = pair.catalog->levels();
  for (const std::int32_t i : item) {
    const auto codes = pair.catalog->codes_of(i);
    candidates.code.insert(candidates.code.end(), codes.begin(), codes.end());
  }
  return candidates;
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace tessera::testing
