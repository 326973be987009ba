// VBPR (He and McAuley, AAAI 2016), with any modalities; README.md has the formula as it is built.
#include <algorithm>

#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {
namespace {

struct Options {
  int width = 64;
  double l2 = 1e-2, deviation = 0.02;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width,
      "width of an item's own vector and of its projected features; users and scored vectors have "
      "twice as much",
      1, 4096);
    v("l2", l2, "weight of the regularisation of the batch's scored vectors", 0.0, 1e6);
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

class Vbpr final : public Model {
 public:
  Vbpr(const Options& options, const Section& section) : options_(options), section_(section) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = 2 * options_.width;
    spec.tower_width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = options_.l2 > 0.0 ? 1 : 0;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource* tower) override {
    tower_ = tower;
    std::vector<Tensor> features;
    for (const auto& modality : modality_features(context.data, options_.modalities, false, section_))
      features.push_back(modality->filled());
    features_ = concat_columns(features);
    projection_ = std::make_unique<Linear>(features_.columns(), options_.width);
    add_module("projection", *projection_);
    users_ = &add_parameter("users", {context.data.users(), 2 * options_.width}, normal(options_.deviation), false);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const Tensor users = (*users_)(), items = concat_columns({tower->all(), (*projection_)(features_)});
    if (Tape::current() != nullptr) kept_ = {users, items, {}, true};
    return {users, items};
  }

  // There is no graph to go along: a batch costs as much as its rows.
  std::pair<Tensor, Tensor> propagate_batch(ItemVectorSource* tower, std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items) override {
    const Tensor u = gather_rows((*users_)(), users);
    const Distinct item = distinct(items, features_.rows());  // a tower may cost much an item
    const Tensor once = concat_columns({tower->vectors(item.rows), (*projection_)(gather_rows(features_, item.rows))});
    const Tensor i = gather_rows(once, item.place);
    if (Tape::current() != nullptr) kept_ = {u, i, {items.begin(), items.end()}, false};
    return {u, i};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    if (options_.l2 == 0.0) return {};
    const auto targets = static_cast<std::int64_t>(batch.target.size());
    std::vector<std::int32_t> asked = batch.target;
    asked.insert(asked.end(), batch.negative.begin(), batch.negative.end());
    Kept kept = std::move(kept_);
    kept_ = {};
    if (kept.users && kept.all) {
      kept.users = gather_rows(kept.users, batch.histories.user);
      kept.items = gather_rows(kept.items, asked);
    } else if (!kept.users || kept.asked != asked) {  // a head with negatives of its own
      std::tie(kept.users, kept.items) = propagate_batch(tower_, batch.histories.user, asked);
      kept_ = {};
    }
    return scale(
        norms({kept.users, slice_rows(kept.items, 0, targets), slice_rows(kept.items, targets, kept.items.rows())},
              targets),
        options_.l2);
  }

 private:
  // Vectors that the head asked for in this step: of all, or of the batch's users and of the items `asked`.
  struct Kept {
    Tensor users, items;
    std::vector<std::int32_t> asked;
    bool all = false;
  };

  Options options_;
  Section section_;
  ItemVectorSource* tower_ = nullptr;
  Tensor features_;  // (I, sum of D_m)
  std::unique_ptr<Linear> projection_;
  Parameter* users_ = nullptr;
  Kept kept_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Vbpr>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "VBPR: items as a vector of their own beside projected features",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "vbpr", "matrix factorisation with projected features beside the items' vectors", tessera::make);
               });
