#include <memory>

#include "framework/nn/dot_product.h"
#include "framework/nn/token_tower.h"
#include "framework/plugin/plugin.h"

// Inner products with the sum or the mean of token embeddings; everything else is framework/nn/dot_product.h.
namespace tessera {
namespace {

struct Options : DotProductOptions {
  std::string tower = "sum";
  double deviation = 0.02;

  template <class V>
  void describe(V& v) {
    v("tower", tower, "an item's vector: sum or mean of its token embeddings", {"sum", "mean"});
    DotProductOptions::describe(v);
    v("deviation", deviation, "standard deviation of the first token embeddings", 0.0, 10.0);
  }
};

std::unique_ptr<Head> make(const Options& options, const Section& section) {
  return std::make_unique<DotProductHead>(
      "dot_product", options, section, options.deviation, [options](const BuildContext& context, int width) {
        return std::make_unique<TokenTower>(context.catalog, width, options.tower == "mean", options.deviation);
      });
}

void register_components(Registry& registry) {
  registry.add<Head, Options>(
      "dot_product", "inner product of the user's state and an item tower: softmax, sampled softmax, BCE, BPR", make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Inner product of a user's state and item vectors", tessera::register_components);
