#include "tokenizer.h"

#include <numeric>
#include <utility>

namespace digits {
namespace {

using namespace tessera;

class Tokenizer final : public tessera::Tokenizer {
 public:
  explicit Tokenizer(const TokenizerOptions& options) : options_(options) {}

  void fit(const Dataset& data, FitContext& context) override {
    const std::int64_t items = data.item_count();
    int levels = 1;
    for (std::int64_t reach = options_.base; reach < items; reach *= options_.base) ++levels;
    std::vector<std::int32_t> number(static_cast<std::size_t>(items));
    std::iota(number.begin(), number.end(), 0);
    if (options_.shuffle_seed != 0) shuffle(number);
    codes_ = Tensor({items, levels}, DType::i32);
    const auto codes = codes_.values<std::int32_t>();
    for (std::int64_t i = 0; i < items; ++i) {
      std::int32_t rest = number[static_cast<std::size_t>(i)];
      for (int l = levels - 1; l >= 0; --l, rest /= options_.base)
        codes[static_cast<std::size_t>(i * levels + l)] = rest % options_.base;
    }
    context.say(str("digits: ", items, " items in ", levels, " digits of base ", options_.base));
  }

  ItemTokens tokens(const Dataset&) const override {
    ItemTokens tokens;
    for (std::int64_t l = 0; l < codes_.columns(); ++l) tokens.levels.push_back({str("digit/", l), options_.base, ""});
    const auto codes = codes_.values<std::int32_t>();
    tokens.codes.assign(codes.begin(), codes.end());
    return tokens;
  }

  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>&) const override {
    throw Error("digits: an item that was not in the catalogue has no number");
  }

  void visit(StateVisitor& state) override { state.tensor("codes", codes_); }

 private:
  void shuffle(std::vector<std::int32_t>& number) const {
    std::uint64_t state = options_.shuffle_seed;
    for (std::size_t i = number.size(); i > 1; --i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      std::swap(number[i - 1], number[static_cast<std::size_t>((state >> 33) % i)]);
    }
  }

  TokenizerOptions options_;
  Tensor codes_;  // (I, L)
};

}  // namespace

std::unique_ptr<tessera::Tokenizer> make_tokenizer(const TokenizerOptions& options, const tessera::Section&) {
  return std::make_unique<Tokenizer>(options);
}

}  // namespace digits
