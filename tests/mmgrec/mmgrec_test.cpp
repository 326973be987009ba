#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "framework/pipeline/pipeline.h"
#include "framework/plugin/testing.h"
#include "framework/roles/frozen_weights.h"
#include "framework/train/trainer.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

std::string files(const std::string& tokenizer, const std::string& head) {
  return "name = 'small'\n[[featurizer]]\nplugin = 'text_hash'\n[tokenizer]\nplugin = 'graph_rq_vae'\nfused_width = "
         "16\n"
         "hidden_width = 16\nvector_width = 8\ngraph_epochs = 2\ngraph_batch = 128\nnegatives = 2\n"
         "kmeans_iterations = 10\n" +
         tokenizer +
         "\n[catalog]\npolicy = 'popularity'\n[model]\nplugin = 'relation_transformer'\nwidth = 8\nlayers = 1\nheads = "
         "2\n"
         "head_width = 4\nffn = 8\n[head]\nplugin = 'generative_decoder'\nform = 'cross'\nlayers = 1\nheads = 2\n"
         "head_width = 4\nffn = 8\n" +
         head +
         "\n[data]\nplugin = 'synthetic'\nusers = 60\nitems = 100\ncategories = 4\n[split]\nmethod = 'leave_one_out'\n"
         "[train]\nepochs = 1\nmax_steps = 4\nbatch_size = 64\nvalid_every = 0\n";
}

// A pipeline up to its codes; `spoil` sees the data first.
struct World {
  explicit World(const std::string& tokenizer, const std::string& head = "",
                 const std::function<void(Dataset&)>& spoil = {})
      : loader(registry, {kPlugins}),
        pipeline(Config::load({folder.write("small.toml", files(tokenizer, head))}), registry) {
    Rejects rejects;
    pipeline.load_data(rejects, context);
    if (spoil) spoil(pipeline.data());
    pipeline.tokenize(context);
  }

  // A few steps, then ten items for every user from his training items.
  Ranking train_and_rank() {
    pipeline.build();
    Trainer(pipeline.model(), pipeline.head(), pipeline.data(), pipeline.train_options, pipeline.evaluate_options, 1,
            folder.path(), "x")
        .run(false, context);
    Histories histories;
    const Interactions& all = pipeline.data().interactions;
    for (std::int64_t u = 0; u < all.users(); ++u) {
      histories.user.push_back(static_cast<std::int32_t>(u));
      for (auto i = all.begin(u); i < all.end(u); ++i)
        if (all.part[static_cast<std::size_t>(i)] == Part::train)
          histories.item.push_back(all.item[static_cast<std::size_t>(i)]);
      histories.offset.push_back(histories.size());
    }
    const FrozenWeights frozen;
    return pipeline.head().rank(pipeline.model(), histories, {});
  }

  TemporaryFolder folder;
  FitContext context;
  Registry registry;
  Loader loader;
  Pipeline pipeline;
};

void expect_ten_different_items_each(const Ranking& ranking, std::int64_t items) {
  ASSERT_EQ(ranking.k, 10);
  for (std::size_t at = 0; at < ranking.item.size(); at += 10) {
    std::set<std::int32_t> row(ranking.item.begin() + static_cast<std::ptrdiff_t>(at),
                               ranking.item.begin() + static_cast<std::ptrdiff_t>(at) + 10);
    EXPECT_EQ(row.size(), 10u) << at / 10;
    EXPECT_GE(*row.begin(), 0);
    EXPECT_LT(*row.rbegin(), items);
  }
  for (const float score : ranking.score) EXPECT_TRUE(std::isfinite(score));
}

TEST(Mmgrec, NewItemsAreEncodedWithTheUsersWhoTookThem) {
  World world("levels = 2\ncodes = 8");
  const Dataset& data = world.pipeline.data();
  Items news;
  ItemUsers users;
  const std::vector<std::int32_t> chosen{3, 17, 42, 79};
  for (const std::int32_t item : chosen) {
    const auto i = static_cast<std::size_t>(item);
    news.ids.push_back("new " + data.items.ids[i]);
    news.titles.push_back(data.items.titles[i]);
    for (const auto& [name, values] : data.items.fields) news.fields[name].push_back(values[i]);
    for (std::int64_t u = 0; u < data.users(); ++u)
      for (auto at = data.interactions.begin(u); at < data.interactions.end(u); ++at)
        if (data.interactions.item[static_cast<std::size_t>(at)] == item &&
            data.interactions.part[static_cast<std::size_t>(at)] == Part::train &&
            (users.user.size() == static_cast<std::size_t>(users.offset.back()) || users.user.back() != u))
          users.user.push_back(static_cast<std::int32_t>(u));
    users.offset.push_back(static_cast<std::int64_t>(users.user.size()));
  }
  ASSERT_GT(users.user.size(), 4u);
  const auto& known = world.pipeline.tokens().codes;
  std::vector<std::int32_t> expected;
  for (const std::int32_t item : chosen)
    expected.insert(expected.end(), known.begin() + 2 * item, known.begin() + 2 * item + 2);
  EXPECT_EQ(world.pipeline.encode(news, users), expected);
  EXPECT_EQ(world.pipeline.encode(news).size(), expected.size());
  users.offset.pop_back();
  EXPECT_EQ(message_of([&] { world.pipeline.encode(news, users); }), "encode: users of 3 items for 4 items");
}

// User 0 has no training item: his vector is the others' mean, his set is empty. Item 5 has no interaction in training,
// item 6 no text either.
TEST(Mmgrec, UsersWithoutItemsAndItemsWithoutUsers) {
  World world("levels = 2\ncodes = 8", "", [](Dataset& data) {
    auto& all = data.interactions;
    for (auto i = all.begin(0); i < all.end(0); ++i) all.part[static_cast<std::size_t>(i)] = Part::test;
    for (std::size_t i = 0; i < all.item.size(); ++i)
      if (all.item[i] == 5 || all.item[i] == 6) all.part[i] = Part::test;
    data.items.titles[6].clear();
    for (auto& [name, values] : data.items.fields) values[6].clear();
  });
  const auto& codes = world.pipeline.tokens().codes;
  EXPECT_GE(*std::min_element(codes.begin() + 10, codes.begin() + 12), 0);
  EXPECT_EQ(*std::max_element(codes.begin() + 12, codes.begin() + 14), -1);
  const Ranking ranking = world.train_and_rank();
  expect_ten_different_items_each(ranking, 100);
}

// 100 items and 2 codes: groups of 50 and more, so the popularity's level has more codes than a codebook.
TEST(Mmgrec, GroupsLargerThanACodebook) {
  for (const char* head : {"vocabulary = 'level'", "vocabulary = 'shared'"}) {
    World world("levels = 1\ncodes = 2\nbalance = 0.0", head);
    const Catalog& catalog = world.pipeline.catalog();
    ASSERT_EQ(catalog.levels(), 2);
    EXPECT_GE(catalog.level(1).codes, 50);
    EXPECT_EQ(catalog.tokens(), 2 + catalog.level(1).codes);
    EXPECT_TRUE(catalog.unique());
    const std::string said = str("the policy's level has ", catalog.level(1).codes, " codes, more than a codebook (2)");
    EXPECT_NE(world.pipeline.health().table().find(said), std::string::npos) << world.pipeline.health().table();
    const Ranking ranking = world.train_and_rank();
    expect_ten_different_items_each(ranking, 100);
  }
}

}  // namespace
}  // namespace tessera
