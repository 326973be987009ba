// LATTICE (Zhang et al., ACM MM 2021); README.md has the formula as it is built.
#include <algorithm>

#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/knn_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/edges/edges.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/softmax/softmax.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 2, item_layers = 1, neighbours = 10;
  double keep = 0.9, l2 = 1e-4, deviation = 0.1;
  bool train_features = true;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps along the graph of interactions", 0, 16);
    v("item_layers", item_layers, "steps along the graph of like items", 1, 16);
    v("neighbours", neighbours, "items that each is tied to by one modality, itself included", 1, 1000);
    v("keep", keep, "share of the graph of the given features; the rest is learnt", 0.0, 1.0);
    v("l2", l2, "weight of half of the batch's squared vectors, as they are scored", 0.0, 1e6);
    v("train_features", train_features, "features are parameters that begin at the given ones");
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

constexpr double kFloor = 1e-6;  // of a row's summed weights: its own cosine alone is 1

class Lattice final : public Model {
 public:
  Lattice(const Options& options, const Section& section) : options_(options), section_(section) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = 1;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource*) override {
    graph_ = interaction_graph(context.data, EdgeWeights::ones);
    user_share_ = inverse_degrees(graph_.by_rows());
    item_share_ = inverse_degrees(graph_.by_columns());
    users_ = &add_parameter("users", {context.data.users(), options_.width}, normal(options_.deviation), false);
    features_ = modality_features(context.data, options_.modalities, options_.train_features, section_);
    for (auto& features : features_) {
      add_module(features->name(), *features);
      projections_.push_back(std::make_unique<Linear>(features->width(), options_.width));
      add_module(features->name() + ".projection", *projections_.back());
      given_.push_back(symmetric_normalized(knn_graph(features->filled(), options_.neighbours, true)));
    }
    logits_ = &add_parameter("modality_logits", {static_cast<std::int64_t>(features_.size())}, constant(0.0), false);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const Tensor table = tower->all();
    auto [users, items] = walk((*users_)(), table);
    items = add(items, l2_normalize(along_items(table)));
    if (Tape::current() != nullptr) kept_ = {users, items};
    return {users, items};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    if (options_.l2 == 0.0) return {};
    check(static_cast<bool>(kept_.first), "lattice: auxiliary_loss() follows the head's loss of the same batch");
    const auto [users, items] = std::move(kept_);
    kept_ = {};
    return scale(half_squares({gather_rows(users, batch.histories.user), gather_rows(items, batch.target),
                               gather_rows(items, batch.negative)},
                              static_cast<std::int64_t>(batch.target.size())),
                 options_.l2);
  }

 private:
  // 1 / (edges + 1) of each line.
  static Tensor inverse_degrees(const SparseMatrix::Half& half) {
    Tensor share({half.lines()});
    for (std::size_t i = 0; i < share.values<float>().size(); ++i)
      share.values<float>()[i] = 1.0f / static_cast<float>(half.offset[i + 1] - half.offset[i] + 1);
    return share;
  }

  // The mean of steps 0 .. layers of the walk that stays or goes along an edge, each alike.
  std::pair<Tensor, Tensor> walk(Tensor users, Tensor items) const {
    Tensor user_sum = users, item_sum = items;
    for (int layer = 0; layer < options_.layers; ++layer) {
      const Tensor next = scale_rows(add(users, sparse_matmul(graph_, items)), user_share_);
      items = scale_rows(add(items, sparse_matmul(graph_, users, true)), item_share_);
      users = next;
      user_sum = add(user_sum, users);
      item_sum = add(item_sum, items);
    }
    const double share = 1.0 / (options_.layers + 1);
    return {scale(user_sum, share), scale(item_sum, share)};
  }

  Tensor share_of(const Tensor& shares, std::size_t m) const {
    const auto column = static_cast<std::int64_t>(m);
    return slice_columns(shares, column, column + 1).reshape({1});
  }

  // S^item_layers x, S = (1 - keep) learnt + keep given.
  Tensor along_items(Tensor x) {
    const Tensor shares = softmax((*logits_)().reshape({1, logits_->value.numel()}));
    const bool learns = options_.keep < 1.0;
    const auto [pattern, weights] = learns ? learnt(shares) : std::pair<SparseMatrix, Tensor>();
    for (int layer = 0; layer < options_.item_layers; ++layer) {
      Tensor next = learns ? scale(sparse_matmul(pattern, weights, x), 1.0 - options_.keep) : Tensor();
      for (std::size_t m = 0; m < given_.size(); ++m) {
        const Tensor step = sparse_matmul(given_[m], x);
        const Tensor part = scale(scale_rows(step.reshape({1, step.numel()}), share_of(shares, m)), options_.keep)
                                .reshape(step.shape());
        next = next ? add(next, part) : part;
      }
      x = next;
    }
    return x;
  }

  // The graph of nearest projected features: its edges, those of all modalities together, and their normalised weights,
  // recorded.
  std::pair<SparseMatrix, Tensor> learnt(const Tensor& shares) {
    std::vector<SparseMatrix> nearest;
    std::vector<Tensor> cosines;
    for (std::size_t m = 0; m < features_.size(); ++m) {
      const Tensor unit = l2_normalize((*projections_[m])((*features_[m])()));
      nearest.push_back(knn_graph(unit, options_.neighbours, false));
      cosines.push_back(edge_dot(nearest[m], unit, unit));
    }
    const SparseMatrix all = weighted_sum(nearest, std::vector<double>(nearest.size(), 1.0));
    Tensor weights;
    for (std::size_t m = 0; m < nearest.size(); ++m) {
      const std::int64_t edges = nearest[m].entries();
      const Tensor own = scale_rows(cosines[m].reshape({1, edges}), share_of(shares, m)).reshape({edges, 1});
      const Tensor spread = gather_rows(own, places(all, nearest[m]));
      weights = weights ? add(weights, spread) : spread;
    }
    const Tensor flat = weights.reshape({all.entries()});
    const Tensor sums = sparse_matmul(all, flat, Tensor::full({all.columns(), 1}, 1.0, flat.dtype()));
    const Tensor floor = Tensor::full(sums.shape(), kFloor, sums.dtype());
    const Tensor root = exp(scale(log(add(activate(subtract(sums, floor), Activation::relu), floor)), -0.5));
    const Tensor both = multiply(gather_rows(root, all.row_of_entries()), gather_rows(root, all.column_of_entries()));
    return {all, multiply(weights, both).reshape({all.entries()})};
  }

  // For each edge of `all`, its number in `part`, or -1.
  static std::vector<std::int32_t> places(const SparseMatrix& all, const SparseMatrix& part) {
    std::vector<std::int32_t> place;
    place.reserve(static_cast<std::size_t>(all.entries()));
    const auto &outer = all.by_rows(), &inner = part.by_rows();
    for (std::size_t r = 0; r + 1 < outer.offset.size(); ++r) {
      auto next = static_cast<std::size_t>(inner.offset[r]);
      const auto end = static_cast<std::size_t>(inner.offset[r + 1]);
      for (auto e = static_cast<std::size_t>(outer.offset[r]); e < static_cast<std::size_t>(outer.offset[r + 1]); ++e) {
        const bool here = next < end && inner.index[next] == outer.index[e];
        place.push_back(here ? static_cast<std::int32_t>(next++) : -1);
      }
    }
    return place;
  }

  Options options_;
  Section section_;
  SparseMatrix graph_;
  Tensor user_share_, item_share_;
  Parameter *users_ = nullptr, *logits_ = nullptr;
  std::vector<std::unique_ptr<ModalityFeatures>> features_;
  std::vector<std::unique_ptr<Linear>> projections_;
  std::vector<SparseMatrix> given_;
  std::pair<Tensor, Tensor> kept_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Lattice>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "LATTICE: a graph of like items that is learnt, beside the graph of interactions",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "lattice", "propagation along interactions and along a learnt graph of items", tessera::make);
               });
