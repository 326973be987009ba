#include <memory>

#include "framework/nn/dot_product.h"
#include "framework/plugin/plugin.h"
#include "plugins/tcn/tower.h"

// MOTOR's head: item vectors from crossed tokens in place of an item table; losses and ranking are those of
// dot_product.
namespace tessera {
namespace {

struct Options : DotProductOptions {
  TowerOptions tower;

  template <class V>
  void describe(V& v) {
    v("variant", tower.variant, "an item's vector: the mean of its tokens, their products in pairs, or the token cross",
      {"mean", "fm", "cross"});
    v("towers", tower.towers, "fm, cross: over all tokens (agnostic), over each modality's (specific), or both added",
      {"both", "specific", "agnostic"});
    v("layers", tower.layers, "cross: layers, so products of up to layers + 1 tokens", 1, 3);
    v("init", tower.init, "first vectors of the tokens: normal, or the tokenizer's own, as it rebuilds features",
      {"normal", "centroids"});
    v("token_dropout", tower.token_dropout, "share of the tokens that an item lacks in a training step", 0.0, 0.9);
    v("deviation", tower.deviation, "standard deviation of the first token embeddings", 0.0, 10.0);
    DotProductOptions::describe(v);
  }
};

std::unique_ptr<Head> make(const Options& options, const Section& section) {
  if (options.tower.variant != "cross" && section.has("layers"))
    section.fail("layers", str("layers belongs to variant = \"cross\", but variant = \"", options.tower.variant,
                               "\"; remove one of them"));
  if (options.tower.variant == "mean" && section.has("towers"))
    section.fail("towers", "towers has no meaning with variant = \"mean\"; remove it, or take fm or cross");
  return std::make_unique<DotProductHead>(
      "tcn", options, section, 0.02, [tower = options.tower, section](const BuildContext& context, int width) {
        if (tower.init == "centroids" && !context.catalog.token_vectors())
          section.fail("init",
                       "init = \"centroids\" starts from the tokenizer's own vectors, but this tokenizer brings none; "
                       "take the tokenizer pq (without random_codes), or init = \"normal\"");
        return std::make_unique<TcnTower>(context.catalog, width, tower);
      });
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "item vectors from crossed tokens", [](tessera::Registry& registry) {
  registry.add<tessera::Head, tessera::Options>(
      "tcn", "MOTOR's token cross network: inner products with vectors made of an item's tokens", tessera::make);
});
