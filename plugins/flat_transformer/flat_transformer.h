#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/nn/embedding.h"
#include "framework/nn/transformer.h"
#include "framework/roles/model.h"

namespace tessera {

struct FlatTransformerOptions {
  std::string input = "items", item_input = "tower";
  bool causal = true;
  int width = 64, layers = 2, heads = 2, head_width = 0, ffn = 256;
  std::string activation = "gelu", norm = "layer", positions = "learned";
  bool bias = true, final_norm = true, scale_input = false;
  double rope_base = 10000.0;
  int buckets = 32, max_distance = 128, max_items = 50, actions = 0;
  double embedding_dropout = 0.0, dropout = 0.0, deviation = 0.02;

  template <class V>
  void describe(V& v) {
    v("input", input, "items: one position an item; tokens: one position a token", {"items", "tokens"});
    v("item_input", item_input, "items: tower, the head's item vectors; tokens, the sum of the item's token embeddings",
      {"tower", "tokens"});
    v("causal", causal, "a position sees its past alone (every position trains); false: bidirectional");
    v("width", width, "width of the states", 1, 8192);
    v("layers", layers, "blocks", 1, 128);
    v("heads", heads, "attention heads", 1, 256);
    v("head_width", head_width, "width of a head; 0: width / heads", 0, 1024);
    v("ffn", ffn, "hidden width of the feed-forward part", 1, 65536);
    v("activation", activation, "of the feed-forward part", {"relu", "gelu", "silu"});
    v("norm", norm, "layer norm or RMS norm, before each part", {"layer", "rms"});
    v("final_norm", final_norm, "a norm after the last block");
    v("bias", bias, "biases in linear layers and layer norms");
    v("positions", positions, "learned table, rotary, relative bias (T5), or none",
      {"learned", "rope", "relative", "none"});
    v("rope_base", rope_base, "rope: longest wavelength / 2 pi", 1.0, 1e9);
    v("buckets", buckets, "relative: distances told apart", 4, 1024);
    v("max_distance", max_distance, "relative: distances beyond share a bucket", 4, 1000000);
    v("max_items", max_items, "longest history read, newest kept; 0: any length (not with learned positions)", 0,
      100000);
    v("actions", actions,
      "kinds of actions told apart (2 for clicks): a token of what was done stands behind each item, for later "
      "positions to see; 0: none",
      0, 127);
    v("scale_input", scale_input, "multiply the input vectors by sqrt(width)");
    v("embedding_dropout", embedding_dropout, "drop probability on the input", 0.0, 0.95);
    v("dropout", dropout, "drop probability on each residual branch", 0.0, 0.95);
    v("deviation", deviation, "standard deviation of the first weights", 0.0, 10.0);
  }
};

// A Transformer over the history, flattened to tokens or one position an item (README.md).
class FlatTransformer : public Model {
 public:
  FlatTransformer(const FlatTransformerOptions& options, const Section& section);
  ModelSpec spec() const override;
  void build(const BuildContext& context, ItemVectorSource* tower) override;
  Memory encode(const Histories& histories) override { return read(histories, true); }
  Memory summarize(const Histories& histories) override {
    return read(histories, !options_.causal || options_.actions > 0);
  }
  std::unique_ptr<Extension> extend(const Memory& memory, const Candidates& candidates,
                                    const Extension* previous) override;
  void append(Memory& memory, const Histories& news) override;
  // Of a row: its items, its states, then key and value of each layer, and with actions those.
  std::vector<Tensor> export_row(const Memory& memory, std::int64_t row) override;
  Memory import_rows(std::span<const std::vector<Tensor>> rows) override;

 private:
  bool reads_tokens() const { return options_.input == "tokens"; }
  int item_rows() const { return reads_tokens() ? catalog_->levels() : 1; }
  int rows_per_item() const { return item_rows() + (options_.actions > 0 ? 1 : 0); }  // the action stands last
  // Input vectors of items and what was done with them (-1: unknown): row b's are items[offset[b] .. offset[b + 1]),
  // the first at position start[b] (in items).
  Tensor item_inputs(std::span<const std::int32_t> items, std::span<const std::int32_t> actions,
                     std::span<const std::int64_t> offset, std::span<const std::int64_t> start);
  Tensor vectors_of(std::span<const std::int32_t> items);  // (n * item_rows(), D)
  std::unique_ptr<Extension> extend_by_items(const Memory& memory, const Candidates& candidates);
  void check_actions(std::span<const std::int8_t> actions) const;
  Memory read(const Histories& histories, bool all_states);
  Tensor place(Tensor x, const std::vector<std::int32_t>& position);  // adds positions and dropout
  Tensor summary_of(const Memory& memory) const;

  FlatTransformerOptions options_;
  Section section_;
  const Catalog* catalog_ = nullptr;
  ItemVectorSource* tower_ = nullptr;
  std::unique_ptr<Embedding> tokens_, positions_, actions_;
  std::unique_ptr<Transformer> transformer_;
};

}  // namespace tessera
