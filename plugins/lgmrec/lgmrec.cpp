// LGMRec (Guo et al., AAAI 2024); README.md has the formula as it is built.
#include <algorithm>
#include <cmath>

#include "framework/nn/contrastive.h"
#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/softmax/softmax.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 2, modality_layers = 2, hyperedges = 4, hyper_layers = 1;
  double sharpness = 0.2, keep = 0.5, alpha = 0.3, contrast = 1e-4, temperature = 0.2, l2 = 1e-6, deviation = 0.1;
  std::string noise = "train";
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps of the ids along the graph of interactions", 0, 16);
    v("modality_layers", modality_layers, "steps of each modality along it", 0, 16);
    v("hyperedges", hyperedges, "groups that items and users belong to by each modality", 1, 4096);
    v("hyper_layers", hyper_layers, "times that vectors go to the groups and back", 1, 16);
    v("sharpness", sharpness, "temperature of the softmax over groups", 0.001, 100.0);
    v("keep", keep, "share of memberships that dropout keeps in training", 0.01, 1.0);
    v("alpha", alpha, "weight of the vectors by groups", 0.0, 100.0);
    v("contrast", contrast, "weight of the contrast of modalities' vectors by groups, summed over the batch", 0.0, 1e6);
    v("temperature", temperature, "of the contrast", 0.001, 100.0);
    v("l2", l2, "weight of the norms of the batch's vectors, as they are scored", 0.0, 1e6);
    v("noise", noise, "Gumbel noise on memberships: in training; always, as in the public code; never",
      {"train", "always", "never"});
    v("modalities", modalities, "features that are read; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

// Vectors of users and of items.
struct Sides {
  Tensor users, items;
};
Sides operator+(const Sides& a, const Sides& b) { return {add(a.users, b.users), add(a.items, b.items)}; }
Sides unit(const Sides& x) { return {l2_normalize(x.users), l2_normalize(x.items)}; }

class LgmRec final : public Model {
 public:
  LgmRec(const Options& options, const Section& section) : options_(options), section_(section) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    spec.negatives = 1;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource*) override {
    seed_ = context.seed;
    edges_ = interaction_graph(context.data, EdgeWeights::ones);
    graph_ = weighted(edges_, EdgeWeights::symmetric);
    means_ = weighted(edges_, EdgeWeights::user_mean);
    users_ = &add_parameter("users", {context.data.users(), options_.width}, normal(options_.deviation), false);
    features_ = modality_features(context.data, options_.modalities, false, section_);
    for (auto& features : features_) {
      projections_.push_back(std::make_unique<Linear>(features->width(), options_.width, false));
      add_module(features->name() + ".projection", *projections_.back());
      hyperedges_.push_back(std::make_unique<Linear>(features->width(), options_.hyperedges, false));
      add_module(features->name() + ".hyperedges", *hyperedges_.back());
    }
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    const auto [id_users, id_items] = light_gcn(graph_, (*users_)(), tower->all(), options_.layers);
    Sides local{id_users, id_items}, groups;
    std::vector<Sides> by_modality;
    for (std::size_t m = 0; m < features_.size(); ++m) {
      local = local + unit(modality(m));
      by_modality.push_back(through_groups(m, id_items));
      groups = m == 0 ? by_modality[0] : groups + by_modality[m];
    }
    const Sides all = unit(groups);
    const Sides scored = local + Sides{scale(all.users, options_.alpha), scale(all.items, options_.alpha)};
    if (Tape::current() != nullptr) kept_ = {scored, std::move(by_modality)};
    return {scored.users, scored.items};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    check(static_cast<bool>(kept_.scored.users), "lgmrec: auxiliary_loss() follows the head's loss of the same batch");
    const Kept kept = std::move(kept_);
    kept_ = {};
    const auto targets = static_cast<std::int64_t>(batch.target.size());
    Tensor loss =
        scale(norms({gather_rows(kept.scored.users, batch.histories.user), gather_rows(kept.scored.items, batch.target),
                     gather_rows(kept.scored.items, batch.negative)},
                    targets),
              options_.l2);
    if (options_.contrast == 0.0) return loss;
    // A sum over the batch, not a mean.
    const double weight = options_.contrast * static_cast<double>(targets);
    const auto agree = [&](const Tensor& a, const Tensor& b, std::span<const std::int32_t> rows) {
      loss = add(loss, scale(info_nce_one_way(gather_rows(a, rows), b, options_.temperature, rows), weight));
    };
    std::vector<Sides> sides;
    for (const Sides& side : kept.by_modality) sides.push_back(unit(side));
    for (std::size_t m = 0; m < sides.size(); ++m)
      for (std::size_t n = m + 1; n < sides.size(); ++n) {
        agree(sides[m].users, sides[n].users, batch.histories.user);
        agree(sides[m].items, sides[n].items, batch.target);
      }
    return loss;
  }

 private:
  struct Kept {
    Sides scored;
    std::vector<Sides> by_modality;
  };

  // A modality's projected features, of users the mean of their items', after some steps along the edges.
  Sides modality(std::size_t m) {
    Sides x;
    x.items = (*projections_[m])((*features_[m])());
    x.users = sparse_matmul(means_, x.items);
    for (int layer = 0; layer < options_.modality_layers; ++layer)
      x = {sparse_matmul(graph_, x.items), sparse_matmul(graph_, x.users, true)};
    return x;
  }

  // The items' vectors gathered in the groups of a modality and handed back to items, and to users.
  Sides through_groups(std::size_t m, const Tensor& items) {
    const Tensor logits = (*hyperedges_[m])((*features_[m])());
    const Tensor of_items = memberships(logits, 2 * m),
                 of_users = memberships(sparse_matmul(edges_, logits), 2 * m + 1);
    Sides x{Tensor(), items};
    for (int layer = 0; layer < options_.hyper_layers; ++layer) {
      const Tensor group = matmul(of_items, x.items, true);
      x = {matmul(of_users, group), matmul(of_items, group)};
    }
    return x;
  }

  Tensor memberships(const Tensor& logits, std::size_t number) const {
    TrainingScope* training = TrainingScope::current();
    const bool noisy = options_.noise == "always" || (options_.noise == "train" && training != nullptr);
    Tensor x = logits;
    if (noisy) {
      Tensor gumbel(x.shape(), x.dtype());
      // Without a training step the noise is the same each time.
      fill_uniform(gumbel, 0.0, 1.0, training ? training->seed() : seed_,
                   training ? training->next_stream() : stream_of(str("lgmrec/noise/", number)));
      for (float& u : gumbel.values<float>()) u = -std::log(-std::log(std::min(std::max(u, 1e-20f), 1.0f - 1e-7f)));
      x = add(x, gumbel);
    }
    return dropout(softmax(scale(x, 1.0 / options_.sharpness)), 1.0 - options_.keep);
  }

  Options options_;
  Section section_;
  std::uint64_t seed_ = 1;
  SparseMatrix edges_, graph_, means_;
  Parameter* users_ = nullptr;
  std::vector<std::unique_ptr<ModalityFeatures>> features_;
  std::vector<std::unique_ptr<Linear>> projections_, hyperedges_;
  Kept kept_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<LgmRec>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "LGMRec: the local graph of interactions and groups of users and items by each modality",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "lgmrec", "LightGCN with modalities along the graph and hypergraphs of groups", tessera::make);
               });
