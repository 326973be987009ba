// BM3 (Zhou et al., WWW 2023); README.md has the formula as it is built.
#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 1;
  double dropout = 0.5, feature_weight = 2.0, l2 = 0.1, deviation = 0.02;
  bool train_features = true;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps along the graph of interactions", 0, 16);
    v("dropout", dropout, "drop probability of the targets that views are drawn to", 0.0, 0.95);
    v("feature_weight", feature_weight, "weight of the terms that draw features to items and to themselves", 0.0, 1e6);
    v("l2", l2, "weight of the norms of all propagated vectors, by the number of items", 0.0, 1e6);
    v("train_features", train_features, "features are parameters that begin at the given ones");
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

class Bm3 final : public Model {
 public:
  Bm3(const Options& options, const Section& section)
      : options_(options), section_(section), predictor_(options.width, options.width) {
    add_module("predictor", predictor_);
  }

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.own_loss = true;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource* tower) override {
    tower_ = tower;
    graph_ = interaction_graph(context.data, EdgeWeights::symmetric);
    users_ = &add_parameter("users", {context.data.users(), options_.width}, normal(options_.deviation), false);
    features_ = modality_features(context.data, options_.modalities, options_.train_features, section_);
    for (auto& features : features_) {
      add_module(features->name(), *features);
      projections_.push_back(std::make_unique<Linear>(features->width(), options_.width));
      add_module(features->name() + ".projection", *projections_.back());
    }
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const auto [users, items] = views(tower);
    return {predictor_(users), predictor_(items)};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    const auto [all_users, all_items] = views(tower_);
    const Tensor users = gather_rows(all_users, batch.histories.user), items = gather_rows(all_items, batch.target);
    const Tensor user_target = target(users), item_target = target(items);
    // Sums of mean cosines; each term of the loss is 1 - one of them.
    const Tensor pairs = add(agreement(predictor_(users), item_target), agreement(predictor_(items), user_target));
    Tensor of_features;
    for (std::size_t m = 0; m < features_.size(); ++m) {
      const Tensor f = (*projections_[m])(gather_rows((*features_[m])(), batch.target));
      const Tensor predicted = predictor_(f);
      const Tensor two = add(agreement(predicted, item_target), agreement(predicted, target(f)));
      of_features = of_features ? add(of_features, two) : two;
    }
    const double terms = 2.0 + 2.0 * options_.feature_weight * static_cast<double>(features_.size());
    const Tensor agreed = add(pairs, scale(of_features, options_.feature_weight));
    const Tensor loss = add(scale(agreed, -1.0), Tensor::full(agreed.shape(), terms, agreed.dtype()));
    if (options_.l2 == 0.0) return loss;
    return add(loss, scale(norms({all_users, all_items}, all_items.rows()), options_.l2));
  }

 private:
  // Vectors before the predictor: propagated, and items with their own once more.
  std::pair<Tensor, Tensor> views(ItemVectorSource* tower) {
    const Tensor table = tower->all();
    const auto [users, items] = light_gcn(graph_, (*users_)(), table, options_.layers);
    return {users, add(items, table)};
  }

  // What a view is drawn to: constant to the gradient, a part of it dropped out.
  Tensor target(const Tensor& x) const { return l2_normalize(dropout(x.detach(), options_.dropout)); }
  static Tensor agreement(const Tensor& x, const Tensor& target) { return mean(row_dot(l2_normalize(x), target)); }

  Options options_;
  Section section_;
  ItemVectorSource* tower_ = nullptr;
  SparseMatrix graph_;
  Parameter* users_ = nullptr;
  Linear predictor_;
  std::vector<std::unique_ptr<ModalityFeatures>> features_;
  std::vector<std::unique_ptr<Linear>> projections_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Bm3>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "BM3: views of users, items and features drawn together without negatives",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "bm3", "LightGCN with a predictor, trained on agreement alone: no negatives", tessera::make);
               });
