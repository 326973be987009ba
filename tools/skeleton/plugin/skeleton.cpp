#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"

// Items in buckets: the code of an item is its number modulo the number of buckets. Several items share a code.
namespace tessera {
namespace {

struct Options {
  int buckets = 64;

  template <class V>
  void describe(V& v) {
    v("buckets", buckets, "codes of the one level", 1, 65536);
  }
};

class Skeleton final : public Tokenizer {
 public:
  explicit Skeleton(const Options& options) : options_(options) {}

  void fit(const Dataset& data, FitContext&) override {
    codes_ = Tensor({data.item_count(), 1}, DType::i32);
    for (std::int64_t i = 0; i < codes_.numel(); ++i)
      codes_.data<std::int32_t>()[i] = static_cast<std::int32_t>(i % options_.buckets);
  }

  ItemTokens tokens(const Dataset&) const override {
    const auto codes = codes_.values<std::int32_t>();
    ItemTokens tokens;
    tokens.levels = {{"bucket", options_.buckets, ""}};
    tokens.codes.assign(codes.begin(), codes.end());
    return tokens;
  }

  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>&) const override {
    throw Error("skeleton: an item that was not in the catalogue has no number");
  }

  void visit(StateVisitor& state) override { state.tensor("codes", codes_); }

 private:
  Options options_;
  Tensor codes_;  // (I, 1)
};

std::unique_ptr<Tokenizer> make(const Options& options, const Section&) { return std::make_unique<Skeleton>(options); }

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "items in buckets", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, tessera::Options>("skeleton", "the item's number modulo the buckets", tessera::make);
});
