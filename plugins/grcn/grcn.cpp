// GRCN: the graph refined by what users like of each modality (Wei et al. 2020); README.md says what is ours.
#include <utility>

#include "framework/config/config.h"
#include "framework/nn/interaction_graph.h"
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
#include "tensor/ops/reduce/reduce.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, routing = 3, modality_count = 2;
  double l2 = 1e-3, deviation = 0.1;
  bool published_routing = false;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "of ids and of each modality; a vector that is scored has this for ids and for each modality", 1,
      4096);
    v("routing", routing, "times that a user's taste in a modality moves towards the items that he has", 0, 16);
    v("l2", l2, "weight of the mean squares of tables", 0.0, 100.0);
    v("published_routing", published_routing,
      "as the public code of MMRec: its edges never reach a user, so that routing changes nothing");
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("modality_count", modality_count,
      "how many those are, where they are left out: the width of the scored vectors depends on it", 1, 4);
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

// Two numbers of each edge: for the way to its user and for the way to its item.
struct BothWays {
  Tensor to_user, to_item;  // (E)
};

class Grcn final : public Model {
 public:
  Grcn(const Options& options, const Section& section) : options_(options), section_(section) {
    if (!options.modalities.empty()) options_.modality_count = static_cast<int>(options.modalities.size());
  }

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width * (1 + options_.modality_count);
    spec.tower_width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = 1;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource* tower) override {
    tower_ = tower;
    graph_ = interaction_graph(context.data, EdgeWeights::ones);
    row_ = graph_.row_of_entries();
    const std::int64_t users = context.data.users(), items = context.data.item_count(), width = options_.width;
    features_ = modality_features(context.data, options_.modalities, false, section_);
    if (static_cast<int>(features_.size()) != options_.modality_count)
      section_.fail("modality_count",
                    str("the data has ", features_.size(), " modalities, but modality_count is ",
                        options_.modality_count, "; set it to ", features_.size(), ", or name some in modalities"));
    users_ = &add_parameter("users", {users, width}, normal(options_.deviation), false);
    for (const auto& one : features_) {
      add_module(one->name(), *one);
      preferences_.push_back(
          &add_parameter(one->name() + ".preference", {users, width}, normal(options_.deviation), false));
      projections_.push_back(std::make_unique<Linear>(one->width(), width));
      add_module(one->name() + ".projection", *projections_.back());
    }
    const auto kinds = static_cast<std::int64_t>(features_.size());
    confidence_ = &add_parameter("confidence", {users + items, kinds}, xavier_uniform(users + items, kinds), false);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const Tensor table = tower->all();
    if (Tape::current() != nullptr) items_ = table;
    std::vector<Tensor> users(1), items(1);
    BothWays weight;
    for (std::size_t m = 0; m < features_.size(); ++m) {
      const auto [taste, content] = routed(m);
      const Tensor dots = edge_dot(graph_, taste, content);
      const BothWays share{edge_softmax(graph_, dots), edge_softmax(graph_, dots, true)};
      users.push_back(add(taste, sparse_matmul(graph_, share.to_user, content)));
      items.push_back(add(content, sparse_matmul(graph_, share.to_item, taste, true)));
      const BothWays trusted = believed(share, m);
      weight.to_user = m == 0 ? trusted.to_user : larger(weight.to_user, trusted.to_user);
      weight.to_item = m == 0 ? trusted.to_item : larger(weight.to_item, trusted.to_item);
    }
    weight = {activate(weight.to_user, Activation::relu), activate(weight.to_item, Activation::relu)};
    Tensor u = l2_normalize((*users_)()), i = l2_normalize(table);
    users[0] = u;
    items[0] = i;
    for (int layer = 0; layer < 2; ++layer) {
      const Tensor next = sparse_matmul(graph_, weight.to_user, i);
      i = sparse_matmul(graph_, weight.to_item, u, true);
      u = next;
      users[0] = add(users[0], u);
      items[0] = add(items[0], i);
    }
    return {concat_columns(users), concat_columns(items)};
  }

  // The tables' squares; the users' taste of the first modality counts twice, as in the public code.
  Tensor auxiliary_loss(const TrainBatch& batch) override {
    const Tensor table = items_ ? std::exchange(items_, {}) : tower_->all();
    if (options_.l2 == 0.0) return {};
    std::vector<std::int32_t> items = batch.target;
    items.insert(items.end(), batch.negative.begin(), batch.negative.end());
    const auto& users = batch.histories.user;
    Tensor sum = add(mean(square(gather_rows((*users_)(), users))), mean(square(gather_rows(table, items))));
    sum = add(sum, mean(square((*preferences_[0])())));
    for (Parameter* preference : preferences_) sum = add(sum, mean(square(gather_rows((*preference)(), users))));
    return scale(sum, options_.l2);
  }

 private:
  // What users like (U, d) and what items are (I, d) of a modality, unit rows.
  std::pair<Tensor, Tensor> routed(std::size_t m) {
    const Tensor content = l2_normalize((*projections_[m])((*features_[m])(), Activation::leaky_relu));
    Tensor taste = l2_normalize((*preferences_[m])());
    for (int r = 0; r < options_.routing && !options_.published_routing; ++r) {
      const Tensor share = edge_softmax(graph_, edge_dot(graph_, taste, content));
      taste = l2_normalize(add(taste, sparse_matmul(graph_, share, content)));
    }
    return {taste, content};
  }

  // Shares times the confidence of the node that an edge comes from.
  BothWays believed(const BothWays& share, std::size_t m) {
    const auto column = static_cast<std::int64_t>(m);
    const Tensor all = slice_columns((*confidence_)(), column, column + 1);  // (U + I, 1)
    const Shape edges{graph_.entries()};
    const Tensor of_users = slice_rows(all, 0, graph_.rows()), of_items = slice_rows(all, graph_.rows(), all.rows());
    return {multiply(share.to_user, gather_rows(of_items, graph_.column_of_entries()).reshape(edges)),
            multiply(share.to_item, gather_rows(of_users, row_).reshape(edges))};
  }

  static Tensor larger(const Tensor& a, const Tensor& b) { return add(a, activate(subtract(b, a), Activation::relu)); }

  Options options_;
  Section section_;
  ItemVectorSource* tower_ = nullptr;
  SparseMatrix graph_;             // (U, I), ones
  std::vector<std::int32_t> row_;  // (E) the user of each edge
  std::vector<std::unique_ptr<ModalityFeatures>> features_;
  std::vector<std::unique_ptr<Linear>> projections_;
  std::vector<Parameter*> preferences_;
  Parameter *users_ = nullptr, *confidence_ = nullptr;
  Tensor items_;  // the tower's vectors of this step
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Grcn>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Model, Options>("grcn", "the graph of interactions refined by what users like of each modality", make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Graph-Refined Convolutional Network for multi-modal recommendation",
               tessera::register_components);
