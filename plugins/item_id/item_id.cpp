#include <numeric>

#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"

// One level whose code is the item's number: the plain embedding table of SASRec, said in tokens.
namespace tessera {
namespace {

struct Options {
  template <class V>
  void describe(V&) {}
};

class ItemId final : public Tokenizer {
 public:
  void fit(const Dataset& data, FitContext& context) override {
    items_ = data.item_count();
    check(items_ >= 1, "item_id: the dataset has no items");
    context.progress(1.0, "item_id");
  }

  ItemTokens tokens(const Dataset& data) const override {
    check(items_ == data.item_count(), "item_id: fitted on ", items_, " items, but the dataset has ", data.item_count(),
          "; fit it on this catalogue");
    ItemTokens tokens;
    tokens.levels = {{"item", static_cast<int>(items_), ""}};
    tokens.codes.resize(static_cast<std::size_t>(items_));
    std::iota(tokens.codes.begin(), tokens.codes.end(), 0);
    return tokens;
  }

  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>&) const override {
    throw Error(
        "item_id: new items cannot be encoded, a code is the number of an item of the fitted catalogue; use a "
        "tokenizer that "
        "reads features, such as rq_vae");
  }

  void visit(StateVisitor& state) override {
    std::string items = std::to_string(items_);
    state.text("items", items);
    if (state.loading()) items_ = std::stoll(items);
  }

 private:
  std::int64_t items_ = 0;
};

std::unique_ptr<Tokenizer> make(const Options&, const Section&) { return std::make_unique<ItemId>(); }

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "one code an item: its number", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, tessera::Options>("item_id", "one level, the code is the item's number",
                                                     tessera::make);
});
