#pragma once

#include <cstdint>

#include "tensor/core/export.h"

namespace tessera {

// While one lives on a thread, the weights of models and heads do not change there: a head may keep what it made of
// them (the vectors of the whole graph) from one call to the next, under the number of the scope. An evaluation is one
// scope, and so is a program that only answers. Scopes nest; the outermost gives the number.
class TESSERA_API FrozenWeights {
 public:
  FrozenWeights();
  ~FrozenWeights();
  FrozenWeights(const FrozenWeights&) = delete;
  FrozenWeights& operator=(const FrozenWeights&) = delete;

  static std::uint64_t current();  // another number for each scope; 0: weights may change

 private:
  std::uint64_t outer_;
};

}  // namespace tessera
