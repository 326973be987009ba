// MGCN (Yu, Tan, Li, Li and Xiong, ACM MM 2023); README.md has the formula as it is built.
#include "framework/nn/contrastive.h"
#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/knn_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
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
  double l2 = 1e-4, contrast = 0.01, temperature = 0.2, deviation = 0.1;
  bool train_features = true;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps along the graph of interactions", 0, 16);
    v("item_layers", item_layers, "steps along each modality's graph of like items", 0, 16);
    v("neighbours", neighbours, "items that each is tied to by one modality, itself included", 1, 1000);
    v("l2", l2, "weight of half of the batch's squared vectors, as they are scored", 0.0, 1e6);
    v("contrast", contrast, "weight of the contrast of what modalities say with what interactions say", 0.0, 1e6);
    v("temperature", temperature, "of the contrast", 0.001, 100.0);
    v("train_features", train_features, "features are parameters that begin at the given ones");
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

// Vectors of users and of items.
struct Sides {
  Tensor users, items;
};

class Mgcn final : public Model {
 public:
  Mgcn(const Options& options, const Section& section)
      : options_(options),
        section_(section),
        common_projection_(options.width, options.width),
        common_query_(options.width, 1, false) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = 1;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource*) override {
    graph_ = interaction_graph(context.data, EdgeWeights::symmetric);
    users_ = &add_parameter("users", {context.data.users(), options_.width}, normal(options_.deviation), false);
    for (auto& features : modality_features(context.data, options_.modalities, options_.train_features, section_)) {
      const std::string name = features->name();
      auto m = std::make_unique<Modality>(std::move(features), options_);
      add_module(name, *m->features);
      add_module(name + ".projection", m->projection);
      add_module(name + ".gate", m->gate);
      add_module(name + ".preference", m->preference);
      modalities_.push_back(std::move(m));
    }
    add_module("common.projection", common_projection_);
    add_module("common.query", common_query_);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const Tensor table = tower->all();
    const auto [content_users, content_items] = light_gcn(graph_, (*users_)(), table, options_.layers);
    std::vector<Tensor> user_views, item_views;
    for (auto& m : modalities_) {
      Tensor items = multiply(table, m->gate(m->projection((*m->features)()), Activation::sigmoid));
      for (int layer = 0; layer < options_.item_layers; ++layer) items = sparse_matmul(m->graph, items);
      user_views.push_back(sparse_matmul(graph_, items));
      item_views.push_back(items);
    }
    const Sides side{said(user_views, content_users), said(item_views, content_items)};
    const Sides scored{add(content_users, side.users), add(content_items, side.items)};
    if (Tape::current() != nullptr) kept_ = {{content_users, content_items}, side, scored};
    return {scored.users, scored.items};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    check(static_cast<bool>(kept_.scored.users), "mgcn: auxiliary_loss() follows the head's loss of the same batch");
    const Kept kept = std::move(kept_);
    kept_ = {};
    const auto users = [&](const Tensor& x) { return gather_rows(x, batch.histories.user); };
    const auto items = [&](const Tensor& x) { return gather_rows(x, batch.target); };
    const Tensor squares = half_squares(
        {users(kept.scored.users), items(kept.scored.items), gather_rows(kept.scored.items, batch.negative)},
        static_cast<std::int64_t>(batch.target.size()));
    const auto agree = [&](const Tensor& a, const Tensor& b) {
      return info_nce_one_way(l2_normalize(a), l2_normalize(b), options_.temperature);
    };
    const Tensor contrast = add(agree(items(kept.side.items), items(kept.content.items)),
                                agree(users(kept.side.users), users(kept.content.users)));
    return add(scale(squares, options_.l2), scale(contrast, options_.contrast));
  }

 private:
  struct Modality {
    Modality(std::unique_ptr<ModalityFeatures> given, const Options& options)
        : features(std::move(given)),
          projection(features->width(), options.width),
          gate(options.width, options.width),
          preference(options.width, options.width),
          graph(symmetric_normalized(knn_graph(features->filled(), options.neighbours, true))) {}
    std::unique_ptr<ModalityFeatures> features;
    Linear projection, gate, preference;
    SparseMatrix graph;
  };
  struct Kept {
    Sides content, side, scored;
  };

  // What all modalities say, and of what each says alone the part that behaviour (content) asks for.
  Tensor said(const std::vector<Tensor>& views, const Tensor& content) {
    std::vector<Tensor> scores;
    for (const Tensor& view : views) scores.push_back(common_query_(common_projection_(view, Activation::tanh)));
    const Tensor shares = softmax(concat_columns(scores));  // (N, modalities)
    Tensor common;
    for (std::size_t m = 0; m < views.size(); ++m) {
      const auto column = static_cast<std::int64_t>(m);
      const Tensor part = scale_rows(views[m], slice_columns(shares, column, column + 1).reshape({views[m].rows()}));
      common = common ? add(common, part) : part;
    }
    Tensor all = common;
    for (std::size_t m = 0; m < views.size(); ++m)
      all = add(all, multiply(subtract(views[m], common), modalities_[m]->preference(content, Activation::sigmoid)));
    return scale(all, 1.0 / static_cast<double>(1 + views.size()));
  }

  Options options_;
  Section section_;
  SparseMatrix graph_;
  Parameter* users_ = nullptr;
  std::vector<std::unique_ptr<Modality>> modalities_;
  Linear common_projection_, common_query_;
  Kept kept_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Mgcn>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "MGCN: views of modalities purified by behaviour, over one graph of items each",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "mgcn", "LightGCN with gated views of each modality and their contrast with behaviour",
                     tessera::make);
               });
