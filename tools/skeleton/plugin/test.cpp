#include <gtest/gtest.h>

#include "framework/plugin/loader.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"

namespace tessera {
namespace {

std::shared_ptr<Tokenizer> make() {
  static Registry registry;
  static Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
  return registry.create<Tokenizer>(Section::parse("tokenizer", "plugin = 'skeleton'\nbuckets = 2"));
}

Dataset three_items() {
  Dataset data;
  data.items.ids = {"a", "b", "c"};
  return data;
}

}  // namespace

TEST(Skeleton, CodesAreBuckets) {
  const auto tokenizer = make();
  FitContext context;
  tokenizer->fit(three_items(), context);
  EXPECT_EQ(tokenizer->tokens(three_items()).codes, (std::vector<std::int32_t>{0, 1, 0}));
}

TEST(Skeleton, IsSavedAndLoaded) {
  const auto fitted = make(), loaded = make();
  FitContext context;
  fitted->fit(three_items(), context);
  MemoryState state;
  fitted->visit(state);
  state.load(true);
  loaded->visit(state);
  EXPECT_EQ(loaded->tokens(three_items()).codes, fitted->tokens(three_items()).codes);
}

}  // namespace tessera
