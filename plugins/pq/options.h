#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/nn/product_quantizer.h"

namespace tessera {

struct PqOptions {
  std::vector<std::string> modalities;
  std::string normalize = "center";
  std::int64_t components = 0;
  double whiten = 0.0;
  std::string items = "all", missing = "none";
  int subspaces = 8, codes = 256;
  std::string rotation = "opq";
  int first_rounds = 40, turns = 30, turn_rounds = 4, final_rounds = 25;
  std::int64_t sample = 65536;
  bool random_codes = false, item_token = false;

  template <class V>
  void describe(V& v) {
    v("modalities", modalities, "features to quantise, each by itself, in this order; empty: all that the data has");
    v("normalize", normalize, "what is done to each modality's vectors first",
      {"none", "center", "standardize", "l2", "pca"});
    v("components", components, "pca: principal directions that are kept; 0: all", 0, 65536);
    v("whiten", whiten, "pca: 0 keeps distances, 1 makes every direction count the same", 0.0, 1.0);
    v("items", items, "learn from all items of the catalogue, or from those with training interactions",
      {"all", "trained"});
    v("missing", missing,
      "items that lack a modality: no codes there (-1), or the codes of the mean of those that have it",
      {"none", "mean"});
    v("subspaces", subspaces, "codes an item and modality: parts of the vector, divides its width", 1, 64);
    v("codes", codes, "size of each codebook", 2, 65536);
    v("rotation", rotation,
      "before the vector is cut: none (PQ); parametric (principal directions, dealt out evenly); opq (from there by "
      "turns with the codebooks)",
      {"none", "parametric", "opq"});
    v("first_rounds", first_rounds, "rounds of k-means before the first turn", 1, 10000);
    v("turns", turns, "opq: turns of the rotation", 1, 10000);
    v("turn_rounds", turn_rounds, "opq: rounds of k-means a turn", 1, 10000);
    v("final_rounds", final_rounds, "rounds of k-means at the end", 0, 10000);
    v("sample", sample, "rows to learn from, drawn at random; 0: all", 0, 1000000000);
    v("random_codes", random_codes, "a control: codes drawn from a hash of the item's vector in place of the nearest");
    v("item_token", item_token, "one more level, whose code is the item's number: a token of its own for each item");
  }
};

inline ProductQuantizerOptions quantizer_options(const PqOptions& options) {
  ProductQuantizerOptions out;
  out.subspaces = options.subspaces;
  out.codes = options.codes;
  out.rotation = options.rotation;
  out.first_rounds = options.first_rounds;
  out.turns = options.turns;
  out.turn_rounds = options.turn_rounds;
  out.final_rounds = options.final_rounds;
  out.sample = options.sample;
  return out;
}

}  // namespace tessera
