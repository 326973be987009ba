// Construction: options to parts, and the sentences for options and neighbours that do not fit.
#include <algorithm>

#include "framework/plugin/plugin.h"
#include "plugins/hmat/hmat.h"

namespace tessera {
namespace {

BlockPositions positions_of(const HmatOptions& o) {
  using Kind = BlockPositions::Kind;
  BlockPositions positions;
  positions.kind = o.positions == "hierarchical" ? Kind::hierarchical
                   : o.positions == "one_ladder" ? Kind::one_ladder
                   : o.positions == "flat"       ? Kind::flat
                                                 : Kind::none;
  positions.item_base = o.item_base;
  positions.slot_base = o.slot_base;
  return positions;
}

AnchorStackOptions stack_options(const HmatOptions& o, int block) {
  AnchorStackOptions stack;
  TransformerOptions& t = stack.block;
  t.width = o.width;
  t.layers = o.layers;
  t.heads = o.heads;
  t.head_width = o.head_width;
  t.ffn = o.ffn;
  t.activation = parse_activation(o.activation);
  t.norm = parse_norm(o.norm);
  t.bias = o.bias;
  t.dropout = o.dropout;
  t.deviation = o.deviation;
  AnchorOptions& a = stack.attention;
  a.heads = o.heads;
  a.block = block;
  a.positions = positions_of(o);
  a.mask = o.mask == "both_ways"       ? AnchorMask::both_ways
           : o.mask == "local_anchors" ? AnchorMask::local_anchors
           : o.mask == "full"          ? AnchorMask::full
                                       : AnchorMask::base;
  stack.independent = o.mask == "item_anchors";
  stack.pooled_tokens = o.pooled_tokens;
  stack.side_rows = o.actions + o.time_buckets;
  return stack;
}

std::unique_ptr<Model> make(const HmatOptions& options, const Section& section) {
  return std::make_unique<Hmat>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Model, HmatOptions>(
      "hmat", "item blocks of tokens and an anchor; history is seen through anchors (Hi-SAM)", make);
}

}  // namespace

Hmat::Hmat(const HmatOptions& options, const Section& section) : options_(options), section_(section) {
  const int head = options.head_width > 0 ? options.head_width : options.width / options.heads;
  if (options.head_width == 0 && options.width % options.heads != 0)
    section.fail("heads", str("heads = ", options.heads, " does not divide width = ", options.width,
                              "; change one, or give head_width"));
  const bool two = options.positions == "hierarchical" || options.positions == "one_ladder";
  if (options.positions != "none" && head % (two ? 4 : 2) != 0)
    section.fail("positions",
                 str("positions = \"", options.positions, "\" turns pairs", two ? " of items and of slots" : "",
                     ", but a head has width ", head, "; make it a multiple of ", two ? 4 : 2));
  if (options.mask == "local_anchors" && options.layers == 1)
    section.fail(
        "mask",
        "mask = \"local_anchors\" brings the past to the anchors through the tokens of a layer before, but layers "
        "= 1; take two layers or more, or mask = \"base\"");
  if (options.positions != "hierarchical" && section.has("slot_base"))
    section.fail("slot_base", str("slot_base has no meaning with positions = \"", options.positions, "\"; remove it"));
  if (options.positions == "none" && section.has("item_base"))
    section.fail("item_base", "item_base has no meaning with positions = \"none\"; remove it");
}

ModelSpec Hmat::spec() const {
  ModelSpec spec;
  spec.width = options_.width;
  spec.causal = spec.extends = spec.appends = spec.stores = true;
  spec.max_items = options_.max_items;
  return spec;
}

void Hmat::build(const BuildContext& context, ItemVectorSource*) {
  catalog_ = &context.catalog;
  const auto levels = static_cast<std::size_t>(catalog_->levels());
  by_codes_.clear();
  if (options_.identifiers > 0) {
    const std::int32_t* codes = catalog_->codes().data();
    const auto less = [&](std::int32_t a, std::int32_t b) {
      const auto *x = codes + static_cast<std::size_t>(a) * levels, *y = codes + static_cast<std::size_t>(b) * levels;
      return std::lexicographical_compare(x, x + levels, y, y + levels);
    };
    for (std::int32_t i = 0; i < catalog_->items(); ++i) by_codes_.push_back(i);
    std::stable_sort(by_codes_.begin(), by_codes_.end(), less);
    const auto same = [&](std::int32_t a, std::int32_t b) { return !less(a, b) && !less(b, a); };
    by_codes_.erase(std::unique(by_codes_.begin(), by_codes_.end(), same), by_codes_.end());
  }
  const std::int64_t identifiers =
      std::min<std::int64_t>(options_.identifiers, static_cast<std::int64_t>(by_codes_.size()));
  table_ = std::make_unique<Embedding>(catalog_->tokens() + catalog_->levels() + 1 + identifiers, options_.width,
                                       normal(options_.deviation));
  add_module("table", *table_);
  stack_ = std::make_unique<AnchorStack>(stack_options(options_, catalog_->levels() + 1));
  add_module("stack", *stack_);
}

}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Hierarchical Memory-Anchor Transformer: histories of item blocks seen through anchors",
               tessera::register_components);
