#include <gtest/gtest.h>

#include <set>

#include "framework/catalog/catalog.h"
#include "framework/data/npy.h"
#include "framework/plugin/loader.h"
#include "framework/plugin/testing.h"
#include "framework/roles/tokenizer.h"

namespace tessera {
// The bar for codes on real data, by the quickest setting: 90 % of each codebook used, 90 % of the first-three-level
// prefixes different, all identifiers unique under the policy.
TEST(RqVaeBeauty, CodesAreUsedAndIdentifiersUnique) {
  const auto beauty = shared_data(TESSERA_SOURCE_DIR, "beauty");
  if (!beauty) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  Dataset data;
  Tensor values = read_npy(*beauty + "/text_minilm384_f16.npy");
  const std::int64_t items = values.rows();
  for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back(std::to_string(i));
  data.features["text"] = {"text", std::move(values), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 1)};

  Registry registry;
  Loader loader(registry, {TESSERA_BINARY_DIR "/lib/tessera/plugins"});
  const auto tokenizer = registry.create<Tokenizer>(Section::parse(
      "tokenizer",
      "plugin = 'rq_vae'\nwidths = []\nnormalize = 'pca'\ncomponents = 64\nwhiten = 1.0\nkmeans_iterations = 20"));
  FitContext context;
  tokenizer->fit(data, context);
  ItemTokens tokens = tokenizer->tokens(data);
  std::set<std::vector<std::int32_t>> prefixes;
  std::vector<std::set<std::int32_t>> used(3);
  for (std::int64_t i = 0; i < items; ++i) {
    const auto from = tokens.codes.begin() + 3 * i;
    prefixes.insert({from, from + 3});
    for (std::size_t l = 0; l < 3; ++l) used[l].insert(from[static_cast<std::ptrdiff_t>(l)]);
  }
  for (const auto& codes : used) EXPECT_GE(codes.size(), 231u);  // 90 % of 256
  EXPECT_GE(static_cast<double>(prefixes.size()), 0.9 * static_cast<double>(items));
  const Catalog catalog(std::move(tokens), CollisionPolicy::repair, {}, tokenizer->last_level_distances(data));
  EXPECT_EQ(catalog.levels(), 3);
  EXPECT_EQ(catalog.trie().nodes_at(3), items);
}

}  // namespace tessera
