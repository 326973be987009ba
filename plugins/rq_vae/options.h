#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/nn/rq_options.h"

namespace tessera {

struct RqVaeOptions : RqOptions {
  std::vector<std::string> modalities;
  std::string normalize = "standardize";
  std::int64_t components = 0;
  double whiten = 0.0;
  std::string items = "all";

  template <class V>
  void describe(V& v) {
    v("modalities", modalities, "features to quantise, joined in this order; empty: all that the data has");
    v("normalize", normalize, "what is done to each modality's vectors first",
      {"none", "center", "standardize", "l2", "pca"});
    v("components", components, "pca: principal directions that are kept; 0: all", 0, 65536);
    v("whiten", whiten, "pca: 0 keeps distances, 1 makes every direction count the same", 0.0, 1.0);
    v("items", items, "learn from all items of the catalogue, or from those with training interactions",
      {"all", "trained"});
    RqOptions::describe(v);
  }
};

}  // namespace tessera
