#include "framework/nn/feature_light_gcn.h"

#include <cmath>
#include <utility>
#include <vector>

#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
FeatureLightGcn::FeatureLightGcn(int width, int layers, bool free_items, double deviation, double l2,
                                 const Dataset& data, Tensor features)
    : layers_(layers),
      l2_(l2),
      features_(std::move(features)),
      users_(add_parameter("users", {data.users(), width}, normal(deviation), false)),
      fuse_(features_.columns(), width, false) {
  check(features_.rows() == data.item_count(), "feature_light_gcn: ", features_.rows(), " rows of features for ",
        data.item_count(), " items");
  if (free_items) items_ = &add_parameter("items", {data.item_count(), width}, normal(deviation), false);
  add_module("fuse", fuse_);
  graph_ = interaction_graph(data, EdgeWeights::symmetric);
}

FeatureLightGcn::~FeatureLightGcn() = default;

std::pair<Tensor, Tensor> FeatureLightGcn::layer_0() {
  const Tensor users = users_();
  const Tensor items = fuse_(features_.to(users.dtype()));
  return {users, items_ ? add(items, (*items_)()) : items};
}

std::pair<Tensor, Tensor> FeatureLightGcn::vectors() {
  const auto [users, items] = layer_0();
  return light_gcn(graph_, users, items, layers_);
}

std::pair<Tensor, Tensor> FeatureLightGcn::vectors_of(std::span<const std::int32_t> users,
                                                      std::span<const std::int32_t> items) {
  const auto [all_users, all_items] = layer_0();
  const Distinct user = distinct(users, graph_.rows()), item = distinct(items, graph_.columns());
  if (l2_ > 0.0) batch_ = {gather_rows(all_users, users), gather_rows(all_items, items)};
  const auto [u, i] = light_gcn_rows(graph_, all_users, all_items, layers_, user.rows, item.rows);
  return {gather_rows(u, user.place), gather_rows(i, item.place)};
}

Tensor FeatureLightGcn::penalty(std::int64_t targets) {
  return l2_ > 0.0 ? scale(half_squares(std::exchange(batch_, {}), targets), l2_) : Tensor();
}

Tensor FeatureLightGcn::user_state() {
  const NoTape quiet;
  auto [users, items] = layer_0();
  const std::vector<std::int64_t>& offset = graph_.by_rows().offset;
  Tensor over_root = Tensor::zeros({users.rows()});
  for (std::int64_t u = 0; u < users.rows(); ++u) {
    const auto degree = offset[static_cast<std::size_t>(u) + 1] - offset[static_cast<std::size_t>(u)];
    if (degree > 0) over_root.data<float>()[u] = static_cast<float>(1.0 / std::sqrt(static_cast<double>(degree)));
  }
  std::vector<Tensor> layers;
  for (int l = 0; l < layers_; ++l) {
    layers.push_back(scale_rows(users, over_root));
    Tensor next = sparse_matmul(graph_, items);
    items = sparse_matmul(graph_, users, true);
    users = std::move(next);
  }
  return concat_columns(layers);
}

Tensor FeatureLightGcn::encode(const Tensor& features, const Tensor& means, std::span<const std::int64_t> counts) {
  const NoTape quiet;
  Tensor sum = fuse_(features);
  if (means) {
    Tensor root({means.rows()});  // sum over users / sqrt(d_u d_i) = mean sqrt(d_i)
    for (std::int64_t i = 0; i < means.rows(); ++i)
      root.data<float>()[i] = static_cast<float>(std::sqrt(static_cast<double>(counts[static_cast<std::size_t>(i)])));
    const Tensor taken = scale_rows(means, root);
    const std::int64_t width = sum.columns();
    for (int l = 0; l < layers_; ++l) sum = add(sum, slice_columns(taken, l * width, (l + 1) * width));
  }
  return scale(sum, 1.0 / (layers_ + 1));
}

}  // namespace tessera
