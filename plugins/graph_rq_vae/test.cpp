#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "framework/data/dataset.h"
#include "framework/plugin/testing.h"
#include "framework/roles/testing.h"
#include "framework/roles/tokenizer.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";
const std::string kSmall =
    "plugin = 'graph_rq_vae'\nlevels = 2\ncodes = 8\nfused_width = 16\nhidden_width = 16\nvector_width = 8\n"
    "graph_epochs = 15\ngraph_batch = 64\nnegatives = 2\nkmeans_iterations = 20\ngraph_learning_rate = 0.01\n";

std::shared_ptr<Tokenizer> make(const std::string& options) { return make_component<Tokenizer>(kPlugins, options); }

// Items 0 .. 39 belong to four groups by i % 4; users take items of one group. Features know i % 2 alone.
Dataset world() {
  Dataset data;
  data.name = "groups";
  Random random(1, 2);
  for (int i = 0; i < 42; ++i) data.items.ids.push_back("i" + std::to_string(i));
  for (int u = 0; u < 60; ++u) {
    data.user_ids.push_back("u" + std::to_string(u));
    std::set<std::int32_t> taken;
    while (taken.size() < 6) taken.insert(static_cast<std::int32_t>(4 * random.below(10) + u % 4));
    data.interactions.item.insert(data.interactions.item.end(), taken.begin(), taken.end());
    data.interactions.offset.push_back(data.interactions.size());
  }
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
  ItemFeatures text{"text", Tensor({42, 6}), std::vector<std::uint8_t>(42, 1)};
  fill_normal(text.values, 0.0, 0.3, 1, 1);
  for (int i = 0; i < 42; ++i) text.values.data<float>()[6 * i] += i % 2 == 0 ? 2.0f : -2.0f;
  text.present[7] = 0;   // item 7 is known by its users alone
  text.present[41] = 0;  // item 41 by nothing, item 40 by its features
  for (const int i : {7, 41}) std::fill_n(text.values.data<float>() + 6 * i, 6, 0.0f);
  data.features["text"] = text;
  return data;
}

std::vector<std::int32_t> codes_of(const std::string& options, const Dataset& data, std::uint64_t seed = 1) {
  FitContext context;
  context.seed = seed;
  const auto tokenizer = make(options);
  tokenizer->fit(data, context);
  return tokenizer->tokens(data).codes;
}

// Share of pairs with the same first code that belong to the same group.
double purity(const std::vector<std::int32_t>& codes) {
  double same = 0, all = 0;
  for (std::size_t a = 0; a < 40; ++a)
    for (std::size_t b = 0; b < a; ++b)
      if (codes[2 * a] == codes[2 * b]) {
        all += 1;
        same += a % 4 == b % 4 ? 1 : 0;
      }
  return all > 0 ? same / all : 0.0;
}

template <class F>
std::string message(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(GraphRqVae, CodesFollowBehaviourThatFeaturesDoNotShow) {
  const Dataset data = world();
  EXPECT_GT(purity(codes_of(kSmall, data)), 0.9);
  EXPECT_GT(purity(codes_of(kSmall + "joint_epochs = 3", data)), 0.7);
}

TEST(GraphRqVae, ItemsAreKnownByUsersOrByFeatures) {
  const Dataset data = world();
  const auto codes = codes_of(kSmall, data);
  EXPECT_GE(codes[2 * 7], 0);
  EXPECT_GE(codes[2 * 40], 0);
  EXPECT_EQ(codes[2 * 41], -1);
  EXPECT_EQ(codes[2 * 41 + 1], -1);
}

TEST(GraphRqVae, IsSavedAndLoadedAndEncodesNewItems) {
  const Dataset data = world();
  FitContext context;
  const auto tokenizer = make(kSmall + "content = 0.5");
  tokenizer->fit(data, context);
  const ItemTokens tokens = tokenizer->tokens(data);
  EXPECT_EQ(tokens.item_vectors.shape(), Shape({42, 8}));
  EXPECT_EQ(tokens.user_vectors.shape(), Shape({60, 8}));
  MemoryState state;
  tokenizer->visit(state);
  state.load(true);
  const auto other = make(kSmall + "content = 0.5");
  other->visit(state);
  const auto before = tokenizer->encode(data.features), after = other->encode(data.features);
  EXPECT_EQ(before, after);
  EXPECT_EQ(after[2 * 40], tokens.codes[2 * 40]);  // without neighbours in the graph either
  EXPECT_EQ(after[2 * 41], -1);
}

TEST(GraphRqVae, HealthTellsBehaviourFromContent) {
  const Dataset data = world();
  FitContext context;
  const auto tokenizer = make(kSmall);
  tokenizer->fit(data, context);
  const auto figures = tokenizer->health(data);
  ASSERT_EQ(figures.size(), 2u);
  EXPECT_EQ(figures[0].name, "neighbours by codes that are neighbours by behaviour");
  EXPECT_GT(figures[0].value, 0.4);
  EXPECT_EQ(figures[1].name, "neighbours by codes that are neighbours by text");
}

TEST(GraphRqVae, SameCodesForAnyNumberOfThreadsAndOtherOnesForAnotherSeed) {
  const Dataset data = world();
  set_threads(1);
  const auto one = codes_of(kSmall + "joint_epochs = 1", data);
  for (const int threads : {2, 3}) {
    set_threads(threads);
    EXPECT_EQ(codes_of(kSmall + "joint_epochs = 1", data), one) << threads;
  }
  set_threads(1);
  EXPECT_NE(codes_of(kSmall + "joint_epochs = 1", data, 2), one);
}

TEST(GraphRqVae, ErrorsSayWhat) {
  Dataset data = world();
  FitContext context;
  EXPECT_NE(message([&] { codes_of(kSmall + "modalities = ['image']", data); }).find("no features of modality 'image'"),
            std::string::npos);
  EXPECT_NE(message([&] {
              codes_of("plugin = 'graph_rq_vae'\ngraph_epochs = 1\ngraph_batch = 64", data);
            }).find("41 items with features or interactions for 256 codes a level; use fewer codes"),
            std::string::npos);
  EXPECT_NE(message([&] { make(kSmall + "whiten = 1.0"); }).find("only used with vectors = 'pca'"), std::string::npos);
  context.stop = [] { return true; };
  EXPECT_THROW(make(kSmall)->fit(data, context), Stopped);
  data.interactions.part.assign(data.interactions.item.size(), Part::test);
  EXPECT_NE(message([&] { codes_of(kSmall, data); }).find("has nothing to train on"), std::string::npos);
}

}  // namespace
}  // namespace tessera
