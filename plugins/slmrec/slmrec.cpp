// SLMRec (Tao et al., IEEE Transactions on Multimedia 2022), in the form of its hierarchical contrast; README.md has
// the formula as it is built.
#include "framework/nn/contrastive.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/linear.h"
#include "framework/nn/modality_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 3;
  double temperature = 0.2, modality_temperature = 0.2, modality_loss = 0.05, deviation = 0.02;
  std::vector<std::string> modalities;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of vectors of users and items", 1, 8192);
    v("layers", layers, "steps along the graph of interactions, of items' vectors and of each modality", 0, 16);
    v("temperature", temperature, "of the contrast of users with the batch's items", 0.001, 100.0);
    v("modality_temperature", modality_temperature, "of the contrast of an item's vector with its features", 0.001,
      100.0);
    v("modality_loss", modality_loss, "weight of the contrast with features", 0.0, 1e6);
    v("modalities", modalities,
      "features that are read, the chain of contrasts follows their order; left out: all that the data has");
    v("deviation", deviation, "standard deviation of the first vectors of users", 0.0, 10.0);
  }
};

class Slmrec final : public Model {
 public:
  Slmrec(const Options& options, const Section& section)
      : options_(options), section_(section), anchor_(options.width, options.width) {}

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
    const std::int64_t width = options_.width;
    for (auto& features : modality_features(context.data, options_.modalities, false, section_)) {
      const bool first = modalities_.empty();
      if (!first && width % 2 != 0)
        section_.fail("width", str("width is ", width,
                                   ", but the second modality is contrasted in half of it; expected an even number"));
      auto m = std::make_unique<Modality>();
      m->x = l2_normalize(features->filled());
      const std::string name = features->name();
      const auto part = [&](const char* what, std::int64_t in, std::int64_t out) {
        auto linear = std::make_unique<Linear>(in, out);
        add_module(name + "." + what, *linear);
        return linear;
      };
      m->projection = part("projection", m->x.columns(), width);
      m->view = part("view", width, first ? width : width / 2);
      if (!first) {
        m->chain = part("chain", width, width);
        m->anchor = part("anchor", width, width / 2);
      }
      modalities_.push_back(std::move(m));
    }
    add_module("anchor", anchor_);
    const std::int64_t joined = width * static_cast<std::int64_t>(1 + modalities_.size());
    user_fusion_ = std::make_unique<Linear>(joined, width);
    item_fusion_ = std::make_unique<Linear>(joined, width);
    add_module("user_fusion", *user_fusion_);
    add_module("item_fusion", *item_fusion_);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    std::vector<Tensor> users, items;
    for (const Tensor& layer_0 : item_tables(tower)) {
      const auto [u, i] = light_gcn(graph_, (*users_)(), layer_0, options_.layers);
      users.push_back(u);
      items.push_back(i);
    }
    return {(*user_fusion_)(concat_columns(users)), (*item_fusion_)(concat_columns(items))};
  }

  Tensor auxiliary_loss(const TrainBatch& batch) override {
    const Distinct user = distinct(batch.histories.user, graph_.rows()),
                   item = distinct(batch.target, graph_.columns());
    std::vector<Tensor> users, items;  // of the batch's pairs: behaviour, then each modality
    for (const Tensor& layer_0 : item_tables(tower_)) {
      const auto [u, i] = light_gcn_rows(graph_, (*users_)(), layer_0, options_.layers, user.rows, item.rows);
      users.push_back(gather_rows(u, user.place));
      items.push_back(gather_rows(i, item.place));
    }
    const Tensor u = l2_normalize((*user_fusion_)(concat_columns(users)));
    const Tensor i = l2_normalize((*item_fusion_)(concat_columns(items)));
    const Tensor loss = info_nce_one_way(u, i, options_.temperature);
    return options_.modality_loss == 0.0 ? loss : add(loss, scale(contrast(items), options_.modality_loss));
  }

 private:
  struct Modality {
    Tensor x;  // (I, D_m), unit rows
    std::unique_ptr<Linear> projection, view, chain, anchor;
  };

  // What is propagated, each with the same users: the items' vectors, then each modality's.
  std::vector<Tensor> item_tables(ItemVectorSource* tower) {
    std::vector<Tensor> tables{tower->all()};
    for (auto& m : modalities_) tables.push_back((*m->projection)(m->x));
    return tables;
  }

  // Each item of the batch finds its own features among those of the batch, from its propagated vector; a chain of maps
  // leads from one modality to the next. Inner products, as published: neither side has unit length.
  Tensor contrast(const std::vector<Tensor>& items) {
    Tensor q = anchor_(items[0]), sum;
    for (std::size_t k = 0; k < modalities_.size(); ++k) {
      Modality& m = *modalities_[k];
      if (m.chain) q = (*m.chain)(q);
      const Tensor one =
          info_nce_one_way(m.anchor ? (*m.anchor)(q) : q, (*m.view)(items[k + 1]), options_.modality_temperature);
      sum = sum ? add(sum, one) : one;
    }
    return sum;
  }

  Options options_;
  Section section_;
  ItemVectorSource* tower_ = nullptr;
  SparseMatrix graph_;
  Parameter* users_ = nullptr;
  std::vector<std::unique_ptr<Modality>> modalities_;
  Linear anchor_;
  std::unique_ptr<Linear> user_fusion_, item_fusion_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<Slmrec>(options, section);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "SLMRec: behaviour and each modality propagated alike, drawn together by contrast",
               [](tessera::Registry& registry) {
                 registry.add<tessera::Model, tessera::Options>(
                     "slmrec", "one propagation an item view, joined; trained by contrasts in the batch",
                     tessera::make);
               });
