#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/catalog/tokens.h"
#include "framework/data/dataset.h"
#include "framework/roles/tokenizer.h"
#include "tensor/core/export.h"

namespace tessera {

// [health] of the configuration: least values that pass, and how much is measured. A threshold of 0 checks nothing.
struct HealthOptions {
  double usage = 0.8;
  double perplexity = 0.3;
  int prefix_levels = 3;
  double prefixes = 0.5;
  double reconstruction = 0.1;
  double neighbours = 0.05;
  int nearest = 10;
  std::int64_t queries = 1000;
  std::int64_t pool = 20000;

  template <class V>
  void describe(V& v) {
    v("usage", usage, "least share of a level's codes that items use (of the items, where they are fewer)", 0.0, 1.0);
    v("perplexity", perplexity, "least perplexity of a level, as a share of the same number", 0.0, 1.0);
    v("prefix_levels", prefix_levels, "length of the prefixes whose uniqueness is checked", 1, 64);
    v("prefixes", prefixes, "least number of different prefixes of this length, as a share of the items", 0.0, 1.0);
    v("reconstruction", reconstruction, "least R2 of the features rebuilt from all levels", 0.0, 1.0);
    v("neighbours", neighbours, "least share of nearest neighbours that stay nearest neighbours", 0.0, 1.0);
    v("nearest", nearest, "neighbours an item", 1, 1000);
    v("queries", queries, "items whose neighbours are compared, at most", 1, 10000000);
    v("pool", pool, "items that are rebuilt and among which neighbours are looked for, at most", 2, 10000000);
  }
};

// What codes are worth, before anything is trained on them. A value; its numbers are shares 0 .. 1 unless said
// otherwise.
struct TESSERA_API HealthReport {
  struct Level {
    std::string name;
    int codes = 0;                       // K
    int used = 0;                        // codes that at least one item has
    double perplexity = 0.0;             // exp of the entropy of the items' codes, 1 .. K
    double usage = 0.0, evenness = 0.0;  // used and perplexity as shares of min(K, items)
  };
  struct Prefix {
    int depth = 0;
    std::int64_t distinct = 0;       // different prefixes of this length
    std::int64_t largest_group = 0;  // items that share one
    double share = 0.0;              // distinct / items
  };
  struct Modality {
    std::string name;
    std::vector<double> r2;   // after 1 .. L levels
    double neighbours = 0.0;  // share of the nearest neighbours kept
    double chance = 0.0;      // what a random order would keep
  };
  struct Check {
    std::string what;
    double found = 0.0, expected = 0.0;
    bool passed = false;
  };

  std::int64_t items = 0;
  std::vector<Level> levels;         // of the tokenizer
  std::int64_t colliding_items = 0;  // in groups of two or more, before the policy
  std::int64_t largest_group = 0;    // before the policy
  std::string policy;
  int identifier_levels = 0;           // with the policy's own
  int policy_codes = 0;                // of the policy's own level; 0: it has none
  bool unique = false;                 // after the policy
  std::vector<Prefix> token_prefixes;  // of the tokenizer's own codes, before the policy
  std::vector<Prefix> prefixes;        // of the identifiers, after the policy
  std::vector<Modality> modalities;    // where the tokenizer can rebuild features
  std::vector<HealthFigure> figures;   // what the tokenizer adds
  std::vector<Check> checks;

  bool passed() const;
  std::string table() const;  // for people: ends with a line PASS or FAIL
  std::string json() const;   // one object
};

// Deterministic; reads the data's features and calls Tokenizer::reconstruct where it is offered.
TESSERA_API HealthReport measure_health(const Dataset& data, const Tokenizer& tokenizer, const ItemTokens& tokens,
                                        const Catalog& catalog, const HealthOptions& options);

}  // namespace tessera
