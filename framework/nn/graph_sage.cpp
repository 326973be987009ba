#include "framework/nn/graph_sage.h"

#include <utility>

#include "framework/nn/interaction_graph.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/matmul/matmul.h"
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
}

GraphSage::~GraphSage() = default;

// A map of a map of the features is a map of the features: where they are narrow, multiplying the weights with one
// another is cheaper than mapping all items twice. An item costs 8 Df H operations then, forwards and backwards,
// against 4 Df W + 12 W H.
GraphSage::Maps GraphSage::maps(DType dtype) {
  Maps maps{features_.to(dtype), self1_.weight(), neighbours1_.weight()};
  if (!options_.fuse) return maps;
  const std::int64_t features = features_.columns(), width = options_.width, hidden = options_.hidden;
  if (8 * features * hidden < 4 * features * width + 12 * width * hidden) {
    maps.self = matmul(fuse_->weight(), maps.self);
    maps.neighbours = matmul(fuse_->weight(), maps.neighbours);
  } else {
    maps.x = (*fuse_)(maps.x);
  }
  return maps;
}

GraphSage::Hidden GraphSage::hidden(const Nodes* wanted_users, const Nodes* wanted_items) {
  const Tensor users = users_();
  const Maps items = maps(users.dtype());
  const auto taken = [](const Tensor& x, const Nodes* nodes) { return nodes ? gather_rows(x, *nodes) : x; };
  const auto means = [](const SparseMatrix& of, const Tensor& x, const Nodes* nodes, bool transpose) {
    return nodes ? sparse_matmul_rows(of, x, *nodes, transpose) : sparse_matmul(of, x, transpose);
  };
  const auto finish = [&](Tensor sum, const Tensor& x, Linear& map) {
    return add_linear(std::move(sum), x, map.weight(), self1_.bias(), options_.activation, options_.hidden_dropout);
  };
  Tensor of_users = means(of_users_, linear(items.x, items.neighbours), wanted_users, false);
  const Tensor of_items = means(of_items_, users, wanted_items, true);
  return {finish(std::move(of_users), taken(users, wanted_users), self1_),
          finish(linear(taken(items.x, wanted_items), items.self), of_items, neighbours1_)};
}

Tensor GraphSage::layer2(const Tensor& self, const Tensor& neighbours) {
  return add_linear(neighbours2_(neighbours), self, self2_.weight(), self2_.bias(), Activation::none,
                    options_.output_dropout);
}

std::pair<Tensor, Tensor> GraphSage::vectors() {
  const Hidden h = hidden(nullptr, nullptr);
  const Tensor users = layer2(h.users, sparse_matmul(of_users_, h.items));
  return {users, layer2(h.items, sparse_matmul(of_items_, h.users, true))};
}

std::pair<Tensor, Tensor> GraphSage::vectors_of(std::span<const std::int32_t> users,
                                                std::span<const std::int32_t> items) {
  const Distinct wanted_users = distinct(users, users_.value.rows()), wanted_items = distinct(items, features_.rows());
  // The wanted nodes come first, so their places do too; then the neighbours of the wanted nodes of the other kind.
  const auto reached = [](const Nodes& wanted, const Nodes& others, const SparseMatrix::Half& edges,
                          std::int64_t count) {
    Nodes nodes = wanted;
    for (const std::int32_t other : others) {
      const auto line = static_cast<std::size_t>(other);
      nodes.insert(nodes.end(), edges.index.begin() + edges.offset[line], edges.index.begin() + edges.offset[line + 1]);
    }
    Distinct all = distinct(nodes, count);
    all.place.resize(wanted.size());
    return all;
  };
  const Distinct near_users = reached(wanted_users.rows, wanted_items.rows, of_items_.by_columns(), of_items_.rows());
  const Distinct near_items = reached(wanted_items.rows, wanted_users.rows, of_users_.by_rows(), of_users_.columns());
  const Hidden h = hidden(&near_users.rows, &near_items.rows);
  const Tensor of_users = sparse_matmul_block(of_users_, h.items, wanted_users.rows, near_items.rows);
  const Tensor of_items = sparse_matmul_block(of_items_, h.users, wanted_items.rows, near_users.rows, true);
  const Tensor user_vectors = layer2(gather_rows(h.users, near_users.place), of_users);
  return {gather_rows(user_vectors, wanted_users.place),
          gather_rows(layer2(gather_rows(h.items, near_items.place), of_items), wanted_items.place)};
}

Tensor GraphSage::user_state() {
  const NoTape quiet;
  return concat_columns({users_(), hidden(nullptr, nullptr).users});
}

Tensor GraphSage::encode(const Tensor& features, const Tensor& means, std::span<const std::int64_t>) {
  const NoTape quiet;
  const Tensor inputs = options_.fuse ? (*fuse_)(features) : features;
  const std::int64_t width = options_.width;
  Tensor sum = self1_(inputs);
  if (means) sum = add(sum, neighbours1_(slice_columns(means, 0, width)));
  const Tensor own = self2_(activate(sum, options_.activation));
  return means ? add(own, neighbours2_(slice_columns(means, width, width + options_.hidden))) : own;
}

}  // namespace tessera
