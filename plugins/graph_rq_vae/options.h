#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "framework/nn/feature_light_gcn.h"
#include "framework/nn/graph_sage.h"
#include "framework/nn/rq_options.h"
#include "framework/plugin/plugin.h"

namespace tessera {

struct GraphRqVaeOptions : RqOptions {
  std::vector<std::string> modalities;
  std::string normalize = "standardize", vectors = "center";
  std::int64_t components = 0;
  double whiten = 0.0, content = 0.0;
  int fused_width = 128, hidden_width = 128, vector_width = 64;
  double hidden_dropout = 0.5, output_dropout = 0.2;
  int similar = 0;
  int graph_epochs = 60, graph_batch = 600, negatives = 5, joint_epochs = 0;
  std::string network = "sage", graph_loss = "bpr";
  double graph_temperature = 0.1;
  int graph_layers = 3;
  double deviation = 0.1, graph_l2 = 1e-3;
  bool free_items = true, fixed_negatives = false, content_only = false, random_codes = false;
  double graph_learning_rate = 1e-3, graph_weight_decay = 1e-6;

  GraphRqVaeOptions() { widths.clear(); }

  template <class V>
  void describe(V& v) {
    v("modalities", modalities, "features that enter the graph, joined in this order; empty: all that the data has");
    v("normalize", normalize, "what is done to each modality's vectors first",
      {"none", "center", "standardize", "l2", "pca"});
    v("components", components, "pca: principal directions that are kept; 0: all", 0, 65536);
    v("network", network,
      "sage: two layers of GraphSAGE (MMGRec); light: LightGCN, whose items begin at their features through a linear "
      "map",
      {"sage", "light"});
    v("graph_layers", graph_layers, "light: steps along the edges; the vectors are the mean of layers", 1, 16);
    v("free_items", free_items, "light: items have free vectors beside their features'");
    v("deviation", deviation, "light: standard deviation of the first free vectors", 0.0, 10.0);
    v("graph_l2", graph_l2, "light: weight of the regularisation of the vectors that a step begins with", 0.0, 1e6);
    v("fused_width", fused_width, "width of users' free vectors and of the items' joined features after a linear map",
      1, 8192);
    v("hidden_width", hidden_width, "after the first layer of the graph network", 1, 8192);
    v("vector_width", vector_width, "after the second: the width of item and user vectors", 1, 8192);
    v("hidden_dropout", hidden_dropout, "drop probability after the first layer", 0.0, 0.95);
    v("output_dropout", output_dropout, "drop probability after the second", 0.0, 0.95);
    v("graph_epochs", graph_epochs, "passes over the training interactions", 1, 1000000);
    v("graph_batch", graph_batch, "interactions a step", 1, 1000000);
    v("graph_loss", graph_loss,
      "bpr: against drawn items, by inner products; softmax: against all items of the batch's interactions, by cosines",
      {"bpr", "softmax"});
    v("graph_temperature", graph_temperature, "softmax: cosines are divided by it", 1e-3, 10.0);
    v("negatives", negatives, "items that the user does not have, against each interaction (bpr)", 1, 1000);
    v("fixed_negatives", fixed_negatives, "drawn once (bpr), as in the published program, instead of anew each epoch");
    v("graph_learning_rate", graph_learning_rate, "AdamW's learning rate of the graph network", 1e-9, 10.0);
    v("graph_weight_decay", graph_weight_decay, "AdamW's decoupled decay of its weights", 0.0, 10.0);
    v("joint_epochs", joint_epochs,
      "epochs at the end in which graph network and quantiser learn together, on the sum of both losses", 0, 1000000);
    v("vectors", vectors, "what is done to item vectors before they are quantised",
      {"none", "center", "standardize", "l2", "pca"});
    v("whiten", whiten, "vectors = pca: 0 keeps distances, 1 makes every direction count the same", 0.0, 1.0);
    v("similar", similar,
      "the vector of an item that nobody took is the mean of those of so many taken items, the most like it by "
      "features; 0: what the network makes of its features",
      0, 1000);
    v("content", content,
      "the items' own features stand beside their vectors when they are quantised, times this; 0: vectors alone", 0.0,
      1000.0);
    v("content_only", content_only,
      "a control: codes of the items' own features alone; vectors are learnt and handed on as ever");
    v("random_codes", random_codes,
      "a control: codes from a hash of the item's vector; vectors are learnt and handed on as ever");
    RqOptions::describe(v);
  }
};

// Fails at the key of an option that has no meaning beside the others.
inline void check_options(const GraphRqVaeOptions& options, const Section& section) {
  if (options.normalize != "pca" && section.has("components"))
    section.fail("components", "only used with normalize = 'pca'");
  if (options.vectors != "pca" && section.has("whiten")) section.fail("whiten", "only used with vectors = 'pca'");
  const auto only = [&](const char* option, const std::string& found, const char* wanted,
                        std::initializer_list<const char*> keys) {
    for (const char* key : keys)
      if (found != wanted && section.has(key)) section.fail(key, str("only used with ", option, " = '", wanted, "'"));
  };
  only("graph_loss", options.graph_loss, "bpr", {"negatives", "fixed_negatives"});
  only("graph_loss", options.graph_loss, "softmax", {"graph_temperature"});
  only("network", options.network, "light", {"graph_layers", "free_items", "deviation", "graph_l2"});
  only("network", options.network, "sage", {"fused_width", "hidden_width", "hidden_dropout", "output_dropout"});
  if (options.balance != 0.0 && options.balance < 1.0)
    section.fail("balance", str("balance is ", options.balance, ", expected 0 or 1 or more"));
  if (options.random_codes && options.joint_epochs > 0)
    section.fail("joint_epochs", "has no meaning with random_codes = true: there is no quantiser to learn");
  if (options.content_only && (options.random_codes || options.joint_epochs > 0 || options.content > 0.0))
    section.fail("content_only",
                 "content_only = true quantises features alone; it does not go with random_codes, "
                 "joint_epochs or content");
  if (options.random_codes && options.content > 0.0)
    section.fail("content", "has no meaning with random_codes = true: there is no quantiser to read it");
}

inline std::unique_ptr<GraphNetwork> make_graph_network(const GraphRqVaeOptions& options, const Dataset& data,
                                                        const Tensor& features) {
  if (options.network == "light")
    return std::make_unique<FeatureLightGcn>(options.vector_width, options.graph_layers, options.free_items,
                                             options.deviation, options.graph_l2, data, features);
  GraphSageOptions sage;
  sage.width = options.fused_width;
  sage.hidden = options.hidden_width;
  sage.output = options.vector_width;
  sage.hidden_dropout = options.hidden_dropout;
  sage.output_dropout = options.output_dropout;
  return std::make_unique<GraphSage>(sage, data, features);
}

}  // namespace tessera
