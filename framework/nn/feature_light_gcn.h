#pragma once

#include <vector>

#include "framework/data/dataset.h"
#include "framework/nn/graph_network.h"
#include "framework/nn/linear.h"
#include "tensor/ops/sparse_matmul/sparse_matrix.h"

namespace tessera {

// LightGCN (He et al. 2020) whose items bring features: e_i^(0) = features W, plus a free vector where asked; layer
// l + 1 is one step along the edges of weight 1 / sqrt(d_u d_i); the vectors are the means of layers 0 .. L. Linear:
// no activation, no dropout.
class TESSERA_API FeatureLightGcn final : public GraphNetwork {
 public:
  // features (I, Df). The graph is that of the training part. width D; free_items: items have free vectors as well; l2:
  // weight of 1/2 |e^(0)|^2 of a step's users and items over its targets.
  FeatureLightGcn(int width, int layers, bool free_items, double deviation, double l2, const Dataset& data,
                  Tensor features);
  ~FeatureLightGcn() override;
  std::pair<Tensor, Tensor> vectors() override;
  std::pair<Tensor, Tensor> vectors_of(std::span<const std::int32_t> users,
                                       std::span<const std::int32_t> items) override;
  Tensor penalty(std::int64_t targets) override;
  Tensor user_state() override;  // (U, L D): layers 0 .. L - 1, each over sqrt(d_u)
  Tensor encode(const Tensor& features, const Tensor& means, std::span<const std::int64_t> counts) override;

 private:
  std::pair<Tensor, Tensor> layer_0();  // users, items

  int layers_;
  double l2_;
  std::vector<Tensor> batch_;  // what vectors_of() began with, for penalty()
  SparseMatrix graph_;
  Tensor features_;  // (I, Df)
  Parameter& users_;
  Parameter* items_ = nullptr;  // free vectors, or null
  Linear fuse_;
};

}  // namespace tessera
