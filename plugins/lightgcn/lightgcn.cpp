// LightGCN (He et al., SIGIR 2020); README.md has the formula as it is built.
#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 3;
  double l2 = 1e-4, deviation = 0.1;
  std::string l2_form = "squares";

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps along the edges; the vectors are the mean of layers 0 .. layers", 0, 16);
    v("l2", l2, "weight of the regularisation of the batch's rows of layer 0", 0.0, 1e6);
    v("l2_form", l2_form, "squares: half of the summed squares by the targets; norms: the summed norms by the targets",
      {"squares", "norms"});
    v("deviation", deviation, "standard deviation of the first vectors of users (the head has its own for items)", 0.0,
      10.0);
  }
};

class LightGcn final : public Model {
 public:
  explicit LightGcn(const Options& options) : options_(options) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = options_.l2 > 0.0 ? 1 : 0;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource* tower) override {
    tower_ = tower;
    graph_ = interaction_graph(context.data, EdgeWeights::symmetric);
    users_ = &add_parameter("users", {context.data.users(), options_.width}, normal(options_.deviation), false);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const auto [users, items] = layer_0(tower);
    return light_gcn(graph_, users, items, options_.layers);
  }

  std::pair<Tensor, Tensor> propagate_batch(ItemVectorSource* tower, std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items) override {
    const auto [all_users, all_items] = layer_0(tower);
    const Distinct user = distinct(users, graph_.rows()), item = distinct(items, graph_.columns());
    const auto [u, i] = light_gcn_rows(graph_, all_users, all_items, options_.layers, user.rows, item.rows);
    return {gather_rows(u, user.place), gather_rows(i, item.place)};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    if (options_.l2 == 0.0) return {};
    const auto [users, items] = items_ ? std::pair{(*users_)(), std::move(items_)} : layer_0(tower_);
    items_ = {};
    const std::vector<Tensor> rows{gather_rows(users, batch.histories.user), gather_rows(items, batch.target),
                                   gather_rows(items, batch.negative)};
    const auto targets = static_cast<std::int64_t>(batch.target.size());
    return scale(options_.l2_form == "squares" ? half_squares(rows, targets) : norms(rows, targets), options_.l2);
  }

 private:
  // The tables; the items' are kept for the regularisation of the same step.
  std::pair<Tensor, Tensor> layer_0(ItemVectorSource* tower) {
    Tensor users = (*users_)(), items = tower->all();
    if (Tape::current() != nullptr) items_ = items;
    return {std::move(users), std::move(items)};
  }

  Options options_;
  ItemVectorSource* tower_ = nullptr;
  SparseMatrix graph_;
  Parameter* users_ = nullptr;
  Tensor items_;
};

std::unique_ptr<Model> make(const Options& options, const Section&) { return std::make_unique<LightGcn>(options); }

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "LightGCN: vectors of users and items propagated along the training graph",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "lightgcn", "the mean of steps along the graph of training interactions", tessera::make);
               });
