#pragma once

#include <memory>

#include "framework/config/config.h"
#include "framework/roles/head.h"

namespace digits {

struct CosineOptions {
  double temperature = 0.07;
  double init = 0.05;

  template <class V>
  void describe(V& v) {
    v("temperature", temperature, "the cosine is divided by it before the softmax", 0.001, 10.0);
    v("init", init, "deviation of the first embeddings", 1e-6, 1.0);
  }
};

// Ranks by the cosine of the state and the item's vector, the sum of its token embeddings; softmax over the whole
// catalogue.
std::unique_ptr<tessera::Head> make_cosine(const CosineOptions& options, const tessera::Section& section);

}  // namespace digits
