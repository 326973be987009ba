// FREEDOM (Zhou and Shen, ACM MM 2023); README.md has the formula as it is built.
#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/knn_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 2, item_layers = 1, neighbours = 10;
  double image_weight = 0.1, edge_dropout = 0.8, modality_loss = 1e-3, deviation = 0.1;
  bool train_features = true;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps along the graph of interactions", 0, 16);
    v("item_layers", item_layers, "steps along the graph of like items", 1, 16);
    v("neighbours", neighbours, "items that each is tied to by one modality, itself included", 1, 1000);
    v("image_weight", image_weight,
      "share of the modality `image` in the graph of items, the others have the rest alike; without that modality all "
      "have the same",
      0.0, 1.0);
    v("edge_dropout", edge_dropout, "share of interactions that an epoch leaves out, by degree", 0.0, 0.99);
    v("modality_loss", modality_loss, "weight of BPR of users with the projected features", 0.0, 1e6);
    v("train_features", train_features, "features are parameters that begin at the given ones");
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

class Freedom final : public Model {
 public:
  Freedom(const Options& options, const Section& section) : options_(options), section_(section) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = 1;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource*) override {
    edges_ = interaction_graph(context.data, EdgeWeights::ones);
    graph_ = weighted(edges_, EdgeWeights::symmetric);
    users_ = &add_parameter("users", {context.data.users(), options_.width}, normal(options_.deviation), false);
    features_ = modality_features(context.data, options_.modalities, options_.train_features, section_);
    std::vector<SparseMatrix> graphs;
    for (auto& features : features_) {
      add_module(features->name(), *features);
      projections_.push_back(std::make_unique<Linear>(features->width(), options_.width));
      add_module(features->name() + ".projection", *projections_.back());
      // Every item has as many neighbours, so normalising by degree divides by their number.
      graphs.push_back(knn_graph(features->filled(), options_.neighbours, false));
    }
    item_graph_ =
        weighted_sum(graphs, shares(static_cast<double>(graphs[0].entries()) / static_cast<double>(graphs[0].rows())));
  }

  void begin_epoch(std::int64_t epoch, std::uint64_t seed) override {
    if (options_.edge_dropout == 0.0) return;
    const std::uint64_t stream = stream_of("freedom/edges") + static_cast<std::uint64_t>(epoch);
    pruned_ = weighted(drop_edges(edges_, options_.edge_dropout, seed, stream), EdgeWeights::symmetric);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const Tensor table = tower->all();
    auto [users, items] = light_gcn(graph(), (*users_)(), table, options_.layers);
    Tensor like = table;
    for (int layer = 0; layer < options_.item_layers; ++layer) like = sparse_matmul(item_graph_, like);
    keep(users, false);
    return {users, add(items, like)};
  }

  std::pair<Tensor, Tensor> propagate_batch(ItemVectorSource* tower, std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items) override {
    const Tensor table = tower->all();
    const Distinct user = distinct(users, graph_.rows()), item = distinct(items, graph_.columns());
    const auto [u, i] = light_gcn_rows(graph(), (*users_)(), table, options_.layers, user.rows, item.rows);
    Tensor like = table;
    for (int layer = 1; layer < options_.item_layers; ++layer) like = sparse_matmul(item_graph_, like);
    like = sparse_matmul_rows(item_graph_, like, item.rows);
    const Tensor asked = gather_rows(u, user.place);
    keep(asked, true);
    return {asked, gather_rows(add(i, like), item.place)};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    if (options_.modality_loss == 0.0) return {};
    check(static_cast<bool>(kept_), "freedom: auxiliary_loss() follows the head's loss of the same batch");
    const Tensor users = kept_rows_ ? kept_ : gather_rows(kept_, batch.histories.user);
    kept_ = {};
    Tensor loss;
    for (std::size_t m = 0; m < features_.size(); ++m) {
      const Tensor x = (*features_[m])();
      Linear& project = *projections_[m];
      const Tensor one =
          rows_bpr(users, project(gather_rows(x, batch.target)), project(gather_rows(x, batch.negative)));
      loss = loss ? add(loss, one) : one;
    }
    return scale(loss, options_.modality_loss);
  }

 private:
  // The pruned graph in training, all edges else.
  const SparseMatrix& graph() const { return TrainingScope::current() != nullptr && pruned_ ? pruned_ : graph_; }

  void keep(const Tensor& users, bool rows) {
    if (Tape::current() == nullptr) return;
    kept_ = users;
    kept_rows_ = rows;
  }

  // Weight of each modality's edges.
  std::vector<double> shares(double neighbours) const {
    const std::size_t count = features_.size();
    std::vector<double> share(count, 1.0 / (static_cast<double>(count) * neighbours));
    for (std::size_t m = 0; m < count && count > 1; ++m) {
      if (features_[m]->name() != "image") continue;
      share.assign(count, (1.0 - options_.image_weight) / (static_cast<double>(count - 1) * neighbours));
      share[m] = options_.image_weight / neighbours;
    }
    return share;
  }

  Options options_;
  Section section_;
  SparseMatrix edges_, graph_, pruned_, item_graph_;
  Parameter* users_ = nullptr;
  std::vector<std::unique_ptr<ModalityFeatures>> features_;
  std::vector<std::unique_ptr<Linear>> projections_;
  Tensor kept_;  // users of the step: of the batch's rows, or all
  bool kept_rows_ = false;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Freedom>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "FREEDOM: a frozen graph of like items beside a pruned graph of interactions",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "freedom", "LightGCN on a pruned graph, with a frozen graph of items by their features",
                     tessera::make);
               });
