#include "plugins/graph_rq_vae/similar_items.h"

#include <algorithm>

#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/reduce/reduce.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {

void SimilarItems::fit(const Tensor& features, const Tensor& vectors) {
  features_ = l2_normalize(features);
  vectors_ = vectors;
}

Tensor SimilarItems::vectors(const Tensor& features) const {
  const int count = static_cast<int>(std::min<std::int64_t>(nearest_, features_.rows()));
  const TopK best = topk_inner_product(l2_normalize(features), features_, count, {}, {}, {});
  std::vector<std::int64_t> offset;
  for (std::int64_t i = 0; i <= features.rows(); ++i) offset.push_back(i * count);
  return segment_mean(gather_rows(vectors_, best.index), offset);
}

void SimilarItems::visit(StateVisitor& state) {
  state.tensor("similar/features", features_);
  state.tensor("similar/vectors", vectors_);
}

}  // namespace tessera
