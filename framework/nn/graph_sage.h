#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/nn/graph_network.h"
#include "framework/nn/linear.h"
#include "tensor/ops/sparse_matmul/sparse_matrix.h"

namespace tessera {

struct GraphSageOptions {
  int width = 128;   // of the nodes' inputs: users' free vectors, items' features through a linear map
  int hidden = 128;  // after the first layer
  int output = 64;   // after the second
  bool fuse = true;  // false: features enter as they are, and their width is `width`
  Activation activation = Activation::leaky_relu;  // after the first layer; none after the second
  double hidden_dropout = 0.5, output_dropout = 0.2;
};

// Two layers of GraphSAGE with mean aggregation (Hamilton et al. 2017) over the graph of users and items, as MMGRec
// uses it (arXiv 2404.16555):
//   X = [user vectors; features W_f],  h_i' = act(W_l mean_(j in N(i)) h_j + b + W_r h_i)
// No self loops; a node without neighbours has a mean of zero. The second layer takes means before it multiplies: its
// rows are few in training.
class TESSERA_API GraphSage final : public GraphNetwork {
 public:
  // features (I, Df). The graph is that of the training part.
  GraphSage(const GraphSageOptions& options, const Dataset& data, Tensor features);
  ~GraphSage() override;
  int width() const { return options_.output; }
  std::pair<Tensor, Tensor> vectors() override;
  // The second layer is computed for the given nodes alone, the first for them and their neighbours.
  std::pair<Tensor, Tensor> vectors_of(std::span<const std::int32_t> users,
                                       std::span<const std::int32_t> items) override;
  Tensor user_state() override;  // (U, width + hidden): what the two layers read of users
  Tensor encode(const Tensor& features, const Tensor& means = {}, std::span<const std::int64_t> counts = {}) override;

 private:
  using Nodes = std::vector<std::int32_t>;
  struct Hidden {
    Tensor users, items;  // (U, hidden), (I, hidden), or the wanted rows
  };
  struct Maps {
    Tensor x, self, neighbours;  // what items enter with, and the first layer's maps of it
  };
  Maps maps(DType dtype);
  Hidden hidden(const Nodes* wanted_users, const Nodes* wanted_items);  // null: all of them
  Tensor layer2(const Tensor& self, const Tensor& neighbours);

  GraphSageOptions options_;
  SparseMatrix of_users_, of_items_;  // (U, I): means over a user's items; transposed, over an item's users
  Tensor features_;                   // (I, Df)
  Parameter& users_;                  // (U, width)
  std::unique_ptr<Linear> fuse_;
  Linear self1_, neighbours1_, self2_, neighbours2_;
};

}  // namespace tessera
