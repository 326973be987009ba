// Construction: options to parts, and the sentences for options and neighbours that do not fit.
#include <cmath>

#include "framework/plugin/plugin.h"
#include "plugins/flat_transformer/flat_transformer.h"

namespace tessera {
namespace {

TransformerOptions stack_options(const FlatTransformerOptions& o) {
  TransformerOptions stack;
  stack.width = o.width;
  stack.layers = o.layers;
  stack.heads = o.heads;
  stack.head_width = o.head_width;
  stack.ffn = o.ffn;
  stack.activation = parse_activation(o.activation);
  stack.norm = parse_norm(o.norm);
  stack.bias = o.bias;
  stack.final_norm = o.final_norm;
  stack.causal = o.causal;
  stack.rope_base = o.positions == "rope" ? o.rope_base : 0.0;
  stack.buckets = o.positions == "relative" ? o.buckets : 0;
  stack.max_distance = o.max_distance;
  stack.dropout = o.dropout;
  stack.deviation = o.deviation;
  return stack;
}

std::unique_ptr<Model> make(const FlatTransformerOptions& options, const Section& section) {
  return std::make_unique<FlatTransformer>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Model, FlatTransformerOptions>(
      "flat_transformer", "Transformer over items or flattened tokens, causal or bidirectional", make);
}

}  // namespace

FlatTransformer::FlatTransformer(const FlatTransformerOptions& options, const Section& section)
    : options_(options), section_(section) {
  const int head = options.head_width > 0 ? options.head_width : options.width / options.heads;
  if (options.head_width == 0 && options.width % options.heads != 0)
    section.fail("heads", str("heads = ", options.heads, " does not divide width = ", options.width,
                              "; change one, or give head_width"));
  if (options.positions == "rope" && head % 2 != 0)
    section.fail("positions", str("positions = \"rope\" turns pairs, but a head has width ", head, "; make it even"));
  if (options.positions == "learned" && options.max_items == 0)
    section.fail(
        "max_items",
        "max_items = 0 (any length) does not go with learned positions; give a length, or take positions = \"rope\"");
}

ModelSpec FlatTransformer::spec() const {
  ModelSpec spec;
  spec.width = options_.width;
  spec.causal = options_.causal;
  spec.token_states = reads_tokens() && options_.actions == 0;
  spec.extends = options_.causal && (reads_tokens() || options_.item_input == "tokens");
  spec.appends = options_.causal;
  spec.stores = options_.causal;
  spec.wants_item_vectors = !reads_tokens() && options_.item_input == "tower";
  spec.max_items = options_.max_items;
  return spec;
}

void FlatTransformer::build(const BuildContext& context, ItemVectorSource* tower) {
  catalog_ = &context.catalog;
  const Initializer table = normal(options_.deviation);
  if (spec().wants_item_vectors) {
    if (!tower)
      section_.fail(
          "item_input",
          "model flat_transformer with item_input = \"tower\" reads item vectors, but the head has no item tower; "
          "take item_input = \"tokens\" or a head with a tower (dot_product)");
    if (tower->width() != options_.width)
      section_.fail("width", str("width = ", options_.width, ", but the head's item vectors have width ",
                                 tower->width(), "; make them equal"));
    tower_ = tower;
  } else {
    tokens_ = std::make_unique<Embedding>(catalog_->tokens(), options_.width, table);
    add_module("tokens", *tokens_);
  }
  if (options_.positions == "learned") {
    // One item more than a history: the target's own tokens stand behind it.
    positions_ = std::make_unique<Embedding>((options_.max_items + 1) * rows_per_item(), options_.width, table);
    add_module("positions", *positions_);
  }
  if (options_.actions > 0) {
    actions_ = std::make_unique<Embedding>(options_.actions + 1, options_.width, table);  // the last: unknown
    add_module("actions", *actions_);
  }
  transformer_ = std::make_unique<Transformer>(stack_options(options_));
  add_module("transformer", *transformer_);
}

}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "A Transformer over the history: one position an item, or the flattened tokens",
               tessera::register_components);
