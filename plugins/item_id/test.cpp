#include <gtest/gtest.h>

#include "framework/plugin/loader.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"

namespace tessera {
namespace {

std::shared_ptr<Tokenizer> make() {
  static Registry registry;
  static Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
  return registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'item_id'"));
}

Dataset three_items() {
  Dataset data;
  data.items.ids = {"a", "b", "c"};
  return data;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST(ItemId, CodesAreNumbers) {
  const auto tokenizer = make();
  FitContext context;
  tokenizer->fit(three_items(), context);
  const ItemTokens tokens = tokenizer->tokens(three_items());
  ASSERT_EQ(tokens.level_count(), 1);
  EXPECT_EQ(tokens.levels[0].codes, 3);
  EXPECT_EQ(tokens.codes, (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_TRUE(tokenizer->modalities().empty());
}

TEST(ItemId, IsSavedAndLoaded) {
  const auto fitted = make(), loaded = make();
  FitContext context;
  fitted->fit(three_items(), context);
  MemoryState state;
  fitted->visit(state);
  state.load(true);
  loaded->visit(state);
  EXPECT_EQ(loaded->tokens(three_items()).codes, fitted->tokens(three_items()).codes);
}

TEST(ItemId, ErrorsSayWhat) {
  const auto tokenizer = make();
  EXPECT_EQ(error_of([&] { tokenizer->tokens(three_items()); }),
            "item_id: fitted on 0 items, but the dataset has 3; fit it on this catalogue");
  EXPECT_EQ(error_of([&] { tokenizer->encode({}); }),
            "item_id: new items cannot be encoded, a code is the number of an item of the fitted catalogue; use a "
            "tokenizer that reads "
            "features, such as rq_vae");
  FitContext context;
  EXPECT_EQ(error_of([&] { tokenizer->fit(Dataset(), context); }), "item_id: the dataset has no items");
}

}  // namespace tessera
