#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "plugins/generative_decoder/code_table.h"
#include "plugins/generative_decoder/filter.h"
#include "plugins/generative_decoder/form.h"

namespace tessera {

// A search through the trie, level by level, for many rows at once. The prefixes of a row stand in the order of the
// trie's nodes, whatever their scores, so a beam as wide as the catalogue computes exactly what score() computes. Only
// legal children of a prefix are looked at, and log-probabilities are normalised before filters mask anything.
class Search {
 public:
  Search(CodeTable& table, const CountedTrie& trie) : table_(table), trie_(trie) {}

  struct Found {
    std::vector<std::int64_t> offset{0};  // (rows + 1)
    std::vector<std::int32_t> item;       // best first, ties to the smaller item number
    std::vector<float> score;             // log-likelihood
  };
  // The k best items of rows first .. end of the memory, keeping `width` prefixes a level (0: all).
  Found best(Decoding& decoding, std::int64_t first, std::int64_t end, const RankRequest& request, const Filter& filter,
             std::int64_t width) const;
  // The k best tuples of codes whether an item has them or not (the published MMGRec decodes so): item -1 where none
  // has. codes: K of each level. Tuples of items that may not be answered are left out.
  Found free(Decoding& decoding, std::int64_t first, std::int64_t end, const RankRequest& request, const Filter& filter,
             std::int64_t width, const std::vector<std::int64_t>& codes) const;
  // A step on the way to a wanted item: from a prefix to one of its children.
  struct Choice {
    int level = 0;
    std::int64_t row = 0;
    std::int32_t prefix = 0;  // number among the prefixes of the decoding's newest step
    std::size_t taken = 0;    // which child
    const LevelScores& scores;
    const Trie::Children& children;
    std::span<const double> log_p;  // one number a child
  };
  using Witness = std::function<void(const Choice&)>;
  // Log-likelihoods of given items, one number each: those of row b are items[offset[b] .. offset[b + 1]). Prefixes
  // that items share are computed once. The witness sees each choice once, level by level; a level's rows at one time.
  std::vector<float> score(Decoding& decoding, std::int64_t first, std::int64_t end,
                           std::span<const std::int64_t> offset, std::span<const std::int32_t> items,
                           const Witness& witness = {}) const;
  // Rows to search together, so that at most some thousand prefixes are alive; `prefixes`: the most that a row can
  // have.
  static std::int64_t rows_together(std::int64_t prefixes);

 private:
  CodeTable& table_;
  const CountedTrie& trie_;
};

}  // namespace tessera
