// MMGRec's encoder: the items of a user as a set, related to each other and to the user (README.md).
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "framework/nn/embedding.h"
#include "framework/nn/sinusoids.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/model.h"
#include "plugins/relation_transformer/relation_block.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

struct Options {
  int width = 64, layers = 2, heads = 4, head_width = 64, ffn = 64;
  std::string items = "auto", positions = "relation", summary = "states", user = "tokenizer", activation = "relu", norm = "layer";
  bool user_scalars = true, subset_keeps_target = false;
  int subset = 32, max_items = 0;
  double dropout = 0.2, deviation = 0.02;

  template <class V>
  void describe(V& v) {
    v("width", width, "width of the states", 1, 8192);
    v("layers", layers, "blocks", 1, 128);
    v("heads", heads, "attention heads", 1, 256);
    v("head_width", head_width, "width of a head", 1, 1024);
    v("ffn", ffn, "hidden width of the feed-forward part", 1, 65536);
    v("items", items,
      "what an item is read as: the tokenizer's frozen vectors, the sum of learnt vectors of its codes, the head's "
      "item "
      "vectors (tower), joined: frozen and head's together, or auto: vectors where the tokenizer has them, else codes",
      {"auto", "vectors", "codes", "tower", "joined"});
    v("positions", positions,
      "relation: no order, a second learnt term relates items to each other; sinusoidal: order of the data; none",
      {"relation", "sinusoidal", "none"});
    v("user_scalars", user_scalars,
      "relation: its three parts are scaled by numbers made of the user's vector (the tokenizer's; else the mean of "
      "the "
      "user's items)");
    v("user", user,
      "the vector that user_scalars reads: tokenizer: the tokenizer's, where it has them (in training they have seen the "
      "target), else as items: the mean of the user's items",
      {"tokenizer", "items"});
    v("summary", summary,
      "what stands for the user as a whole, for heads that ask: the mean of the states, or of the items as they are "
      "read",
      {"states", "items"});
    v("activation", activation, "of the feed-forward part", {"relu", "gelu", "silu"});
    v("norm", norm, "layer norm or RMS norm, after each part", {"layer", "rms"});
    v("subset", subset, "training reads so many of the user's other items, drawn anew each epoch", 1, 100000);
    v("subset_keeps_target", subset_keeps_target,
      "the target may be among the items that are read (as in the published program, where it leaks)");
    v("max_items", max_items, "newest items read when it answers; 0: all", 0, 100000);
    v("dropout", dropout, "drop probability on the input and on each residual branch", 0.0, 0.95);
    v("deviation", deviation, "codes: standard deviation of their first vectors", 0.0, 10.0);
  }
};

class RelationTransformer final : public Model {
 public:
  RelationTransformer(const Options& options, const Section& section) : options_(options), section_(section) {
    if (options.positions != "relation" && section.has("user_scalars"))
      section.fail("user_scalars", str("user_scalars belongs to positions = \"relation\", but positions = \"",
                                       options.positions, "\"; remove one of them"));
  }

  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = options_.width;
    spec.max_items = options_.max_items;
    spec.subset = options_.subset;
    spec.subset_keeps_target = options_.subset_keeps_target;
    spec.wants_item_vectors = options_.items == "tower" || options_.items == "joined";
    return spec;
  }

  void build(const BuildContext& context, ItemVectorSource* tower) override {
    catalog_ = &context.catalog;
    const std::string& items = options_.items;
    if (items == "vectors" || items == "joined" || (items == "auto" && catalog_->item_vectors())) read_vectors();
    if (items == "tower" || items == "joined") read_tower(tower);
    if (!vectors_ && !tower_) {
      codes_ = std::make_unique<Embedding>(catalog_->tokens(), options_.width, normal(options_.deviation));
      add_module("codes", *codes_);
    }
    RelationOptions block;
    block.width = options_.width;
    block.heads = options_.heads;
    block.head_width = options_.head_width;
    block.ffn = options_.ffn;
    block.relation = options_.positions == "relation";
    const int user_width = vectors_ ? static_cast<int>(vectors_.columns()) : options_.width;
    block.user_width = options_.user_scalars ? user_width : 0;
    block.activation = parse_activation(options_.activation);
    block.norm = parse_norm(options_.norm);
    block.dropout = options_.dropout;
    for (int l = 0; l < options_.layers; ++l) {
      blocks_.push_back(std::make_unique<RelationBlock>(block));
      add_module("blocks." + std::to_string(l), *blocks_.back());
    }
  }

  Memory encode(const Histories& histories) override {
    const DType type = parameters().front().second->value.dtype();
    Memory memory;
    memory.offset = histories.offset;
    std::vector<std::int32_t> row;  // of each item
    for (std::int64_t b = 0; b < histories.rows(); ++b)
      row.insert(row.end(),
                 static_cast<std::size_t>(memory.offset[static_cast<std::size_t>(b) + 1] -
                                          memory.offset[static_cast<std::size_t>(b)]),
                 static_cast<std::int32_t>(b));
    const Tensor frozen = vectors_ ? gather_rows(vectors_, histories.item).to(type) : Tensor();
    Tensor x = frozen && input_ ? (*input_)(frozen) : frozen;
    if (tower_) x = x ? add(x, tower_->vectors(histories.item)) : tower_->vectors(histories.item);
    if (codes_) x = codes_->sum(catalog_->tokens_of(histories.item), catalog_->levels());
    const Tensor users = options_.user_scalars ? users_of(histories, frozen ? frozen : x) : Tensor();
    if (options_.summary == "items") memory.summary = segment_mean(x, histories.offset);
    if (options_.positions == "sinusoidal") x = add(x, places(histories.offset).to(type));
    x = dropout(x, options_.dropout);
    for (auto& block : blocks_) x = (*block)(x, histories.offset, users, row);
    memory.states = x;
    if (options_.summary == "states") memory.summary = segment_mean(x, histories.offset);
    return memory;
  }

 private:
  // The tokenizer's vectors of items and users; a linear map to the width where they have another, or are added to.
  void read_vectors() {
    vectors_ = catalog_->item_vectors();
    if (!vectors_)
      section_.fail("items", str("items = \"", options_.items,
                                 "\" reads the tokenizer's item vectors, but this tokenizer learnt none; take items = "
                                 "\"codes\", or a tokenizer that does (graph_rq_vae)"));
    if (options_.user == "tokenizer") users_ = catalog_->user_vectors();
    if (users_ && users_.columns() != vectors_.columns()) users_ = Tensor();
    if (vectors_.columns() == options_.width && options_.items != "joined") return;
    input_ = std::make_unique<Linear>(static_cast<int>(vectors_.columns()), options_.width, false);
    add_module("input", *input_);
  }

  void read_tower(ItemVectorSource* tower) {
    if (!tower)
      section_.fail("items",
                    str("items = \"", options_.items,
                        "\" reads the head's item vectors, but this head has none; take items = \"codes\", or a "
                        "head with a tower (generative_decoder)"));
    if (tower->width() != options_.width)
      section_.fail("width", str("the head's item vectors have width ", tower->width(),
                                 ", but width = ", options_.width, "; make them equal"));
    tower_ = tower;
  }

  // Sinusoids of each item's place in its row.
  Tensor places(std::span<const std::int64_t> offset) const {
    std::vector<std::int32_t> place;
    std::int64_t longest = 0;
    for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
      longest = std::max(longest, offset[b + 1] - offset[b]);
      for (std::int64_t i = offset[b]; i < offset[b + 1]; ++i)
        place.push_back(static_cast<std::int32_t>(i - offset[b]));
    }
    return gather_rows(sinusoids(longest, options_.width), place);
  }

  // The tokenizer's vector of each user; for somebody unknown, or where it has none, the mean of the user's items.
  Tensor users_of(const Histories& histories, const Tensor& read) const {
    const Tensor mean = segment_mean(read, histories.offset);
    if (!users_) return mean;
    Tensor users = mean.detach().clone();
    for (std::int64_t b = 0; b < histories.rows(); ++b) {
      const std::int32_t user = histories.user.empty() ? -1 : histories.user[static_cast<std::size_t>(b)];
      if (user >= 0) users.row_range(b, b + 1).copy_from(users_.row_range(user, user + 1).to(users.dtype()));
    }
    return users;
  }

  Options options_;
  Section section_;
  const Catalog* catalog_ = nullptr;
  Tensor vectors_, users_;  // the tokenizer's, (I, Di) and (U, Di), or empty
  ItemVectorSource* tower_ = nullptr;
  std::unique_ptr<Embedding> codes_;
  std::unique_ptr<Linear> input_;
  std::vector<std::unique_ptr<RelationBlock>> blocks_;
};

std::unique_ptr<Model> make(const Options& options, const Section& section) {
  return std::make_unique<RelationTransformer>(options, section);
}

void register_components(Registry& registry) {
  registry.add<Model, Options>("relation_transformer",
                               "a user's items as a set, related to each other and to the user (MMGRec)", make);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1.0", "Relation-aware Transformer over a user's set of items (MMGRec)", tessera::register_components);
