#pragma once

#include <string>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// A learnt tensor: its name in checkpoints, value, gradient, and whether weight decay applies to it.
// Owned by a Module (framework/nn/module.h); its address must not change.
struct TESSERA_API Parameter {
  std::string name;
  Tensor value;
  Tensor gradient;     // empty until a backward reached it
  bool decays = true;  // false for biases, norms and (usually) embeddings

  Parameter(std::string name, Tensor value, bool decays = true);
  ~Parameter();
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  // The value to compute with: a leaf of this thread's tape, or the plain value where there is none.
  Tensor operator()();
};

}  // namespace tessera
