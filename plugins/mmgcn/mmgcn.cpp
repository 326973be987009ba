// MMGCN: one graph network a modality, joined by ids (Wei et al. 2019); README.md says what is ours.
#include <deque>

#include "framework/config/config.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/reduce/reduce.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 3, latent = 256;
  double l2 = 1e-3, deviation = 0.1;
  bool train_table = true;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "of ids and of the vectors that are scored", 1, 4096);
    v("layers", layers, "steps along the edges, each with maps of its own", 1, 8);
    v("latent", latent, "modalities wider than twice this are mapped to it first; others are read as they are", 1,
      65536);
    v("l2", l2, "weight of the mean squares of tables", 0.0, 100.0);
    v("train_table", train_table,
      "false: ids and the users' vectors of modalities keep their random values, as in the public code of MMRec");
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

struct Pair {
  Tensor users, items;  // (U, w), (I, w)
};

// The network of one modality.
class Branch : public ModalityFeatures {
 public:
  Branch(const ItemFeatures& features, const Options& options, std::int64_t users) : ModalityFeatures(features, false) {
    const bool mapped = width() > 2 * options.latent;
    std::int64_t in = mapped ? options.latent : width();
    if (mapped) {
      projection_ = std::make_unique<Linear>(width(), in);
      add_module("projection", *projection_);
    }
    preference_ = &add_parameter("preference", {users, in}, normal(options.deviation), false);
    for (int l = 0; l < options.layers; ++l, in = options.width) {
      layers_.emplace_back(in, options.width);
      add_module(str("layers.", l, ".neighbours"), layers_.back().neighbours);
      add_module(str("layers.", l, ".self"), layers_.back().self);
      add_module(str("layers.", l, ".join"), layers_.back().join);
    }
  }

  Tensor preference(bool trained) { return trained ? (*preference_)() : preference_->value; }

  // user_mean, item_mean: the graph with the weights that make a node the mean of its neighbours.
  Pair propagate(const SparseMatrix& user_mean, const SparseMatrix& item_mean, const Pair& ids, bool trained) {
    const Tensor features = (*this)();
    Pair x{l2_normalize(preference(trained)), l2_normalize(projection_ ? (*projection_)(features) : features)};
    for (Layer& layer : layers_) {
      const Tensor users = sparse_matmul(user_mean, layer.neighbours(x.items));
      const Tensor items = sparse_matmul(item_mean, layer.neighbours(x.users), true);
      x = {layer.joined(users, x.users, ids.users), layer.joined(items, x.items, ids.items)};
    }
    return x;
  }

 private:
  struct Layer {
    Linear neighbours, self, join;
    Layer(std::int64_t in, std::int64_t out) : neighbours(in, in, false), self(in, out), join(in + out, out) {}
    Tensor joined(const Tensor& heard, const Tensor& x, const Tensor& id) {
      const Tensor own = add(self(x, Activation::leaky_relu), id);
      return join(concat_columns({activate(heard, Activation::leaky_relu), own}), Activation::leaky_relu);
    }
  };

  std::unique_ptr<Linear> projection_;
  Parameter* preference_;
  std::deque<Layer> layers_;
};

class Mmgcn final : public Model {
 public:
  Mmgcn(const Options& options, const Section& section) : options_(options), section_(section) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = 1;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource* tower) override {
    tower_ = tower;
    const std::int64_t users = context.data.users();
    user_mean_ = interaction_graph(context.data, EdgeWeights::user_mean);
    item_mean_ = interaction_graph(context.data, EdgeWeights::item_mean);
    users_ = &add_parameter("users", {users, options_.width}, normal(options_.deviation), false);
    for (const auto& one : modality_features(context.data, options_.modalities, false, section_)) {
      branches_.push_back(std::make_unique<Branch>(context.data.features.at(one->name()), options_, users));
      add_module(one->name(), *branches_.back());
    }
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const Pair ids = tables(tower);
    if (Tape::current() != nullptr) ids_ = ids;
    Pair sum;
    for (const auto& branch : branches_) {
      const Pair x = branch->propagate(user_mean_, item_mean_, ids, options_.train_table);
      sum = sum.users ? Pair{add(sum.users, x.users), add(sum.items, x.items)} : x;
    }
    const double share = 1.0 / static_cast<double>(branches_.size());
    return {scale(sum.users, share), scale(sum.items, share)};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    const Pair ids = ids_.users ? std::exchange(ids_, {}) : tables(tower_);
    if (options_.l2 == 0.0) return {};
    std::vector<std::int32_t> items = batch.target;
    items.insert(items.end(), batch.negative.begin(), batch.negative.end());
    const Tensor sum =
        add(mean(square(gather_rows(ids.users, batch.histories.user))), mean(square(gather_rows(ids.items, items))));
    return scale(add(sum, mean(square(branches_[0]->preference(options_.train_table)))), options_.l2);
  }

 private:
  Pair tables(ItemVectorSource* tower) {
    if (options_.train_table) return {(*users_)(), tower->all()};
    return {users_->value, tower->all().detach()};
  }

  Options options_;
  Section section_;
  ItemVectorSource* tower_ = nullptr;
  SparseMatrix user_mean_, item_mean_;  // (U, I)
  std::vector<std::unique_ptr<Branch>> branches_;
  Parameter* users_ = nullptr;
  Pair ids_;  // of this step
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Mmgcn>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Model, Options>("mmgcn", "one graph network a modality, joined by ids", make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Multi-Modal Graph Convolution Network", tessera::register_components);
