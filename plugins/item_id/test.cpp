#include <gtest/gtest.h>

#include "framework/plugin/loader.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"

namespace tessera {
namespace {

std::shared_ptr<Tokenizer> make(const std::string& options = "") {
  static Registry registry;
  static Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
  return registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'item_id'\n" + options));
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

TEST(ItemId, RowsAreSharedByHash) {
  Dataset data;
  for (int i = 0; i < 1000; ++i) data.items.ids.push_back(std::to_string(i));
  const auto tokenizer = make("rows = 10"), again = make("rows = 10");
  FitContext context, other;
  other.seed = 2;
  tokenizer->fit(data, context);
  again->fit(data, other);
  const ItemTokens tokens = tokenizer->tokens(data);
  EXPECT_EQ(tokens.levels[0].codes, 10);
  EXPECT_EQ(again->tokens(data).codes, tokens.codes);
  std::vector<int> users(10, 0);
  for (const auto code : tokens.codes) {
    ASSERT_TRUE(code >= 0 && code < 10);
    ++users[static_cast<std::size_t>(code)];
  }
  for (const int count : users) EXPECT_NEAR(count, 100, 40);
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
