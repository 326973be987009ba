#pragma once

#include <cstdint>
#include <span>

#include "framework/catalog/catalog.h"
#include "framework/data/histories.h"
#include "framework/roles/head.h"

namespace tessera {

// Generated items in the order of log-likelihood plus weight times the inner product of the tokenizer's vectors of user
// and item: generation finds the candidates, and both speak about their order (as LIGER, arXiv 2411.18814, has it with
// vectors of its own). A user that the tokenizer does not know has no such product: likelihood alone decides.
class DenseScores {
 public:
  // catalog: with vectors of items and users, f32 of one width; outlives this.
  DenseScores(const Catalog& catalog, double weight) : catalog_(catalog), weight_(weight) {}

  // scores: one an item, those of row b are items[offset[b] .. offset[b + 1]).
  void add_to(std::span<float> scores, const Histories& histories, std::span<const std::int64_t> offset,
              std::span<const std::int32_t> items) const;
  // The k best of each row's candidates, with the sum as their score; ties to the smaller item number.
  Ranking reordered(Ranking candidates, const Histories& histories, int k) const;

 private:
  const Catalog& catalog_;
  double weight_;
};

}  // namespace tessera
