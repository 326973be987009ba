#include "framework/nn/graph_sage.h"

#include <utility>

#include "framework/nn/interaction_graph.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
GraphSage::GraphSage(const GraphSageOptions& o, const Dataset& data, Tensor features)
    : options_(o),
      features_(std::move(features)),
      users_(add_parameter("users", {data.users(), o.width}, xavier_uniform(data.users(), o.width), false)),
      self1_(o.width, o.hidden),
      neighbours1_(o.width, o.hidden, false),
      self2_(o.hidden, o.output),
      neighbours2_(o.hidden, o.output, false) {
  check(features_.rows() == data.item_count(), "graph_sage: ", features_.rows(), " rows of features for ",
        data.item_count(), " items");
  check(o.fuse || features_.columns() == o.width, "graph_sage: features of width ", features_.columns(),
        " enter as they are, but the nodes have width ", o.width, "; let them be fused");
  if (o.fuse) {
    fuse_ = std::make_unique<Linear>(features_.columns(), o.width, false);
    add_module("fuse", *fuse_);
  }
  add_module("layer1.self", self1_);
  add_module("layer1.neighbours", neighbours1_);
  add_module("layer2.self", self2_);
  add_module("layer2.neighbours", neighbours2_);
  of_users_ = interaction_graph(data, EdgeWeights::user_mean);
  of_items_ = interaction_graph(data, EdgeWeights::item_mean);
  const NoTape quiet;
  mean_features_ = sparse_matmul(of_users_, features_);
}

GraphSage::~GraphSage() = default;

Tensor GraphSage::layer1(const Tensor& self, const Tensor& neighbours) {
  return dropout(activate(add(self1_(self), neighbours1_(neighbours)), options_.activation), options_.hidden_dropout);
}

GraphSage::Hidden GraphSage::hidden() {
  const Tensor users = users_();
  return {layer1(users, inputs(mean_features_)),
          layer1(inputs(features_.to(users.dtype())), sparse_matmul(of_items_, users, true))};
}

std::pair<Tensor, Tensor> GraphSage::vectors() {
  const Hidden h = hidden();
  const Tensor users = add(self2_(h.users), sparse_matmul(of_users_, neighbours2_(h.items)));
  const Tensor items = add(self2_(h.items), sparse_matmul(of_items_, neighbours2_(h.users), true));
  return {dropout(users, options_.output_dropout), dropout(items, options_.output_dropout)};
}

std::pair<Tensor, Tensor> GraphSage::vectors_of(std::span<const std::int32_t> users,
                                                std::span<const std::int32_t> items) {
  const Hidden h = hidden();
  const auto rows = [&](const Tensor& self, const Tensor& others, const SparseMatrix& mean, bool transpose,
                        std::span<const std::int32_t> list) {
    const Distinct wanted = distinct(list, self.rows());
    const Tensor y = add(self2_(gather_rows(self, wanted.rows)),
                         sparse_matmul_rows(mean, neighbours2_(others), wanted.rows, transpose));
    return gather_rows(dropout(y, options_.output_dropout), wanted.place);
  };
  return {rows(h.users, h.items, of_users_, false, users), rows(h.items, h.users, of_items_, true, items)};
}

Tensor GraphSage::encode(const Tensor& features) {
  const NoTape quiet;
  return self2_(activate(self1_(inputs(features)), options_.activation));
}

}  // namespace tessera
