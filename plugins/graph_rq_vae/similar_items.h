#pragma once

#include "framework/roles/context.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Vectors of items that nobody took yet, by what they are: the mean of the vectors of those `nearest` taken items whose
// features are most like theirs (cosine; ties to the smaller item).
class SimilarItems {
 public:
  explicit SimilarItems(int nearest) : nearest_(nearest) {}
  void fit(const Tensor& features, const Tensor& vectors);  // of the taken items: (n, Df), (n, W)
  Tensor vectors(const Tensor& features) const;             // (m, Df) -> (m, W)
  void visit(StateVisitor& state);

 private:
  int nearest_;
  Tensor features_, vectors_;  // (n, Df) of unit length, (n, W)
};

}  // namespace tessera
