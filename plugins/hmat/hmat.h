#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/roles/model.h"
#include "plugins/hmat/stack.h"

namespace tessera {

struct HmatOptions {
  int width = 128, layers = 4, heads = 4, head_width = 0, ffn = 512;
  std::string activation = "gelu", norm = "rms";
  bool bias = true, pooled_tokens = false;
  std::string mask = "base", positions = "hierarchical";
  double item_base = 10000.0, slot_base = 100.0;
  int max_items = 300, actions = 2, time_buckets = 16;
  std::int64_t identifiers = 0;
  double embedding_dropout = 0.0, dropout = 0.1, deviation = 0.02;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of the states", 1, 8192);
    v("layers", layers, "blocks of the stack", 1, 128);
    v("heads", heads, "attention heads", 1, 256);
    v("head_width", head_width, "width of a head; 0: width / heads", 0, 1024);
    v("ffn", ffn, "hidden width of the feed-forward part", 1, 65536);
    v("activation", activation, "of the feed-forward part", {"relu", "gelu", "silu"});
    v("norm", norm, "layer norm or RMS norm, before each part and at the end", {"layer", "rms"});
    v("bias", bias, "biases in linear layers and layer norms");
    v("pooled_tokens", pooled_tokens,
      "a state is the anchor's plus a learnt map of the mean of its block's tokens before the last layer");
    v("mask", mask,
      "base: own block causally and the anchors of earlier blocks; both_ways: tokens of a block see each other; "
      "local_anchors: anchors see their own block alone; item_anchors: remembered anchors depend on their item alone; "
      "full: every earlier row, no compression",
      {"base", "both_ways", "local_anchors", "item_anchors", "full"});
    v("positions", positions,
      "hierarchical: item and slot in two orthogonal subspaces; one_ladder: both on one ladder of frequencies "
      "(HiRoPE); "
      "flat: the row's index (RoPE); none",
      {"hierarchical", "one_ladder", "flat", "none"});
    v("item_base", item_base, "longest wavelength / 2 pi of item positions (and of flat ones)", 1.0, 1e9);
    v("slot_base", slot_base, "longest wavelength / 2 pi of slot positions, hierarchical only", 1.0, 1e9);
    v("max_items", max_items, "longest history read, newest kept; 0: any length", 0, 100000);
    v("actions", actions, "action types that later items are told of; 0: none", 0, 128);
    v("time_buckets", time_buckets, "buckets of the time between items that later items are told of; 0: none", 0, 1024);
    v("identifiers", identifiers,
      "rows of a table of identifiers added to an item's anchor, hashed where there are more items; 0: none", 0,
      100000000);
    v("embedding_dropout", embedding_dropout, "drop probability on the input", 0.0, 0.95);
    v("dropout", dropout, "drop probability on each residual branch", 0.0, 0.95);
    v("deviation", deviation, "standard deviation of the first weights", 0.0, 10.0);
  }
};

// Hierarchical Memory-Anchor Transformer (README.md): items are blocks of their tokens and an anchor; history is seen
// through anchors. One state an item, the anchor's; it knows the item and all that came before it with its actions, but
// not the item's own action, which only later blocks are told.
class Hmat : public Model {
 public:
  Hmat(const HmatOptions& options, const Section& section);
  ModelSpec spec() const override;
  void build(const BuildContext& context, ItemVectorSource* tower) override;
  Memory encode(const Histories& histories) override { return read(histories, true); }
  Memory summarize(const Histories& histories) override { return read(histories, false); }
  std::unique_ptr<Extension> extend(const Memory& memory, const Candidates& candidates,
                                    const Extension* previous) override;
  void append(Memory& memory, const Histories& news) override;
  std::vector<Tensor> export_row(const Memory& memory, std::int64_t row) override;
  Memory import_rows(std::span<const std::vector<Tensor>> rows) override;

 private:
  struct Events;  // items with their actions and times, jagged
  struct Cache;
  static Cache& cache_of(const Memory& memory, const char* call);
  Events newest(const Histories& histories, std::vector<std::int32_t>& place) const;
  Memory read(const Histories& histories, bool all_states);
  Memory read(Events events, bool all_states);
  SideFeatures sides_of(const Events& events, std::span<const std::int64_t> time_before) const;
  // Rows of blocks of codes (n, L), -1 for absent ones.
  Tensor inputs(std::span<const std::int32_t> codes);
  std::vector<std::int32_t> codes_of(std::span<const std::int32_t> items) const;
  std::int32_t identifier_row(const std::int32_t* codes) const;

  HmatOptions options_;
  Section section_;
  const Catalog* catalog_ = nullptr;
  std::vector<std::int32_t> by_codes_;  // items in order of their codes, one for each identifier
  std::unique_ptr<Embedding> table_;    // tokens, a "missing" row of each level, the anchor, identifiers
  std::unique_ptr<AnchorStack> stack_;
};

}  // namespace tessera
