#include <numeric>

#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"
#include "tensor/core/random.h"

// One level whose code is the item's number: the plain embedding table of SASRec, said in tokens. Or fewer rows, which
// items share by a hash of their number.
namespace tessera {
namespace {

struct Options {
  int rows = 0;
  template <class V>
  void describe(V& v) {
    v("rows", rows,
      "codes that items share by a hash of their number (an id table as small as another tokenizer's); 0: one an item",
      0, 2147483647);
  }
};

class ItemId final : public Tokenizer {
 public:
  explicit ItemId(const Options& options) : options_(options) {}

  void fit(const Dataset& data, FitContext& context) override {
    items_ = data.item_count();
    check(items_ >= 1, "item_id: the dataset has no items");
    context.progress(1.0, "item_id");
  }

  ItemTokens tokens(const Dataset& data) const override {
    check(items_ == data.item_count(), "item_id: fitted on ", items_, " items, but the dataset has ", data.item_count(),
          "; fit it on this catalogue");
    ItemTokens tokens;
    tokens.levels = {{"item", options_.rows > 0 ? options_.rows : static_cast<int>(items_), ""}};
    tokens.codes.resize(static_cast<std::size_t>(items_));
    std::iota(tokens.codes.begin(), tokens.codes.end(), 0);
    if (options_.rows > 0)
      for (auto& code : tokens.codes) code = row_of(code);
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
  // The same for every seed: which items share a row is no matter of chance between runs.
  std::int32_t row_of(std::int32_t item) const {
    const std::uint64_t word = philox(0, stream_of("item_id/rows"), static_cast<std::uint64_t>(item))[0];
    return static_cast<std::int32_t>(word * static_cast<std::uint64_t>(options_.rows) >> 32);
  }

  Options options_;
  std::int64_t items_ = 0;
};

std::unique_ptr<Tokenizer> make(const Options& options, const Section&) { return std::make_unique<ItemId>(options); }

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "one code an item: its number, or a hash of it", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, tessera::Options>("item_id", "one level, the code is the item's number",
                                                     tessera::make);
});
