// GraphSAGE over users and items, ranked by inner products: what MMGRec's tokenizer learns, as a model of its own.
#include <memory>

#include "framework/nn/graph_sage.h"
#include "framework/nn/joined_features.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"

namespace tessera {
namespace {

struct Options {
  std::vector<std::string> modalities;
  std::string normalize = "standardize", activation = "leaky_relu";
  int fused_width = 128, hidden_width = 128, width = 64;
  double hidden_dropout = 0.5, output_dropout = 0.2;

  template <class V>
  void describe(V& v) {
    v("modalities", modalities, "features of the items, joined in this order; empty: all that the data has");
    v("normalize", normalize, "what is done to each modality's vectors first", {"none", "center", "standardize", "l2"});
    v("fused_width", fused_width, "width of users' free vectors and of the items' features after a linear map", 1,
      8192);
    v("hidden_width", hidden_width, "after the first layer", 1, 8192);
    v("width", width, "after the second", 1, 8192);
    v("activation", activation, "after the first layer", {"leaky_relu", "relu", "gelu", "silu"});
    v("hidden_dropout", hidden_dropout, "drop probability after the first layer", 0.0, 0.95);
    v("output_dropout", output_dropout, "drop probability after the second", 0.0, 0.95);
  }
};

class GraphSageModel final : public Model {
 public:
  explicit GraphSageModel(const Options& options) : options_(options) {}

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.reads_histories = false;
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource*) override {
    JoinedFeatures features("graphsage");
    features.fit(context.data, options_.modalities, {options_.normalize, 0, 0.0}, {});
    GraphSageOptions network;
    network.width = options_.fused_width;
    network.hidden = options_.hidden_width;
    network.output = options_.width;
    network.activation = parse_activation(options_.activation);
    network.hidden_dropout = options_.hidden_dropout;
    network.output_dropout = options_.output_dropout;
    network_ = std::make_unique<GraphSage>(network, context.data, features.join(context.data.features).x);
    add_module("network", *network_);
  }

  std::pair<Tensor, Tensor> propagate(ItemVectorSource*) override { return network_->vectors(); }
  std::pair<Tensor, Tensor> propagate_batch(ItemVectorSource*, std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items) override {
    return network_->vectors_of(users, items);
  }

 private:
  Options options_;
  std::unique_ptr<GraphSage> network_;
};

std::unique_ptr<Model> make(const Options& options, const Section&) {
  return std::make_unique<GraphSageModel>(options);
}

void register_components(Registry& registry) {
  registry.add<Model, Options>("graphsage", "GraphSAGE over interactions and features (MMGRec's graph, as a model)",
                               make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "GraphSAGE over users and items", tessera::register_components);
