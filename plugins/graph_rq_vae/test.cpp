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
const std::string kCommon =
    "plugin = 'graph_rq_vae'\nlevels = 2\ncodes = 8\nvector_width = 8\n"
    "graph_epochs = 15\ngraph_batch = 64\nkmeans_iterations = 20\ngraph_learning_rate = 0.01\n";
const std::string kSmall = kCommon + "fused_width = 16\nhidden_width = 16\nnegatives = 2\n";
const std::string kLayers = kCommon + "network = 'light'\ngraph_layers = 2\nnormalize = 'l2'\n";
const std::string kLight = kLayers + "negatives = 2\n", kSoftmax = kLayers + "graph_loss = 'softmax'\n";

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
  EXPECT_GT(purity(codes_of(kLight, data)), 0.9);
  EXPECT_GT(purity(codes_of(kSoftmax, data)), 0.9);
  EXPECT_NE(codes_of(kSoftmax, data), codes_of(kSoftmax + "graph_temperature = 2.0\n", data));
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

// Who took each item in training.
ItemUsers users_of_items(const Dataset& data) {
  ItemUsers users;
  for (std::int32_t item = 0; item < data.item_count(); ++item) {
    for (std::int64_t u = 0; u < data.users(); ++u)
      for (std::int64_t i = data.interactions.begin(u); i < data.interactions.end(u); ++i)
        if (data.interactions.item[static_cast<std::size_t>(i)] == item)
          users.user.push_back(static_cast<std::int32_t>(u));
    users.offset.push_back(static_cast<std::int64_t>(users.user.size()));
  }
  return users;
}

// An item of the catalogue, given as a new one with its features and its users, gets the codes that it has: the same
// formula in another way, after saving and loading too.
TEST(GraphRqVae, NewItemsAreEncodedFromTheUsersWhoTookThem) {
  const Dataset data = world();
  FitContext context;
  const auto tokenizer = make(kSmall);
  tokenizer->fit(data, context);
  const auto codes = tokenizer->tokens(data).codes;
  const ItemUsers users = users_of_items(data);
  EXPECT_EQ(tokenizer->encode_taken(data.features, users), codes);
  EXPECT_NE(tokenizer->encode(data.features), codes);  // features know two of four groups
  MemoryState state;
  tokenizer->visit(state);
  state.load(true);
  const auto other = make(kSmall);
  other->visit(state);
  EXPECT_EQ(other->encode_taken(data.features, users), codes);
  // Three users of a group are enough to tell it, and an item without features needs no more.
  const auto purity_with = [&](std::size_t most) {
    ItemUsers few;
    for (std::size_t i = 0; i < 42; ++i) {
      for (auto k = users.offset[i]; k < users.offset[i + 1] && k < users.offset[i] + static_cast<std::int64_t>(most);
           ++k)
        few.user.push_back(users.user[static_cast<std::size_t>(k)]);
      few.offset.push_back(static_cast<std::int64_t>(few.user.size()));
    }
    return purity(other->encode_taken(data.features, few));
  };
  EXPECT_GT(purity_with(3), 0.9);
  EXPECT_LT(purity_with(0), 0.7);
  ItemUsers one{{0}, {5}};
  one.offset.resize(42, 0);
  one.offset.push_back(1);  // item 41, known by nothing before
  EXPECT_GE(other->encode_taken(data.features, one)[2 * 41], 0);
  one.user[0] = 60;
  EXPECT_EQ(message([&] { other->encode_taken(data.features, one); }),
            "graph_rq_vae: user 60 took a new item, expected 0 .. 59, the users of the data that the tokenizer was "
            "fitted on");
  one.offset.pop_back();
  EXPECT_EQ(message([&] { other->encode_taken(data.features, one); }),
            "graph_rq_vae: users of 41 items for 42 rows of features");
}

// The other network the same, where items have no free vectors.
TEST(GraphRqVae, NewItemsOfTheLightNetworkToo) {
  const Dataset data = world();
  FitContext context;
  const std::string options = kLight + "free_items = false";
  const auto tokenizer = make(options);
  tokenizer->fit(data, context);
  MemoryState state;
  tokenizer->visit(state);
  state.load(true);
  const auto other = make(options);
  other->visit(state);
  EXPECT_EQ(other->encode_taken(data.features, users_of_items(data)), tokenizer->tokens(data).codes);
  EXPECT_EQ(other->encode(data.features), tokenizer->encode(data.features));
}

// Of an item that nobody took, similar items tell more than the network: features know i % 2 alone, but a new item that
// looks like one item of a group gets that item's codes.
TEST(GraphRqVae, ItemsThatNobodyTookStandAmongSimilarOnes) {
  Dataset data = world();
  for (std::int64_t d = 0; d < 6; ++d)  // item 40, which nobody took, looks like item 22, but is larger
    data.features["text"].values.data<float>()[6 * 40 + d] =
        3.0f * data.features["text"].values.data<float>()[6 * 22 + d];
  FitContext context;
  const std::string light = kLight + "free_items = false\n", options = light + "similar = 1";
  const auto tokenizer = make(options);
  tokenizer->fit(data, context);
  const ItemTokens tokens = tokenizer->tokens(data);
  const auto row = [&](const Tensor& x, std::int64_t i) {
    return std::vector<float>(x.data<float>() + i * x.columns(), x.data<float>() + (i + 1) * x.columns());
  };
  EXPECT_EQ(row(tokens.item_vectors, 40), row(tokens.item_vectors, 22));
  EXPECT_EQ(tokens.codes[2 * 40], tokens.codes[2 * 22]);
  EXPECT_EQ(tokens.codes[2 * 41], -1);
  const auto plain = make(light);
  plain->fit(data, context);
  EXPECT_EQ(row(plain->tokens(data).item_vectors, 22), row(tokens.item_vectors, 22));  // taken items do not move
  EXPECT_NE(row(plain->tokens(data).item_vectors, 40), row(tokens.item_vectors, 40));

  MemoryState state;
  tokenizer->visit(state);
  state.load(true);
  const auto other = make(options);
  other->visit(state);
  // Every item given as a new one finds itself, item 7 has no features to be found by.
  const auto again = other->encode(data.features);
  for (std::size_t i = 0; i < 41; ++i) EXPECT_EQ(again[2 * i], i == 7 ? -1 : tokens.codes[2 * i]) << i;
  EXPECT_EQ(other->encode_taken(data.features, users_of_items(data)), tokens.codes);
}

TEST(GraphRqVae, UsersWithoutTrainingItemsHaveTheMeanVector) {
  Dataset data = world();
  data.user_ids.push_back("nobody");
  data.interactions.offset.push_back(data.interactions.size());
  FitContext context;
  const auto tokenizer = make(kSmall);
  tokenizer->fit(data, context);
  const Tensor users = tokenizer->tokens(data).user_vectors;
  ASSERT_EQ(users.rows(), 61);
  for (std::int64_t d = 0; d < users.columns(); ++d) {
    double mean = 0.0;
    for (std::int64_t u = 0; u < 60; ++u) mean += users.data<float>()[u * users.columns() + d] / 60.0;
    EXPECT_NEAR(users.data<float>()[60 * users.columns() + d], mean, 1e-5);
  }
}

TEST(GraphRqVae, RandomCodesSayNothingAndLeaveTheVectors) {
  const Dataset data = world();
  FitContext context;
  const auto fitted = [&](const std::string& options) {
    const auto tokenizer = make(options);
    tokenizer->fit(data, context);
    return tokenizer;
  };
  const auto random = fitted(kSmall + "random_codes = true"), learnt = fitted(kSmall);
  const ItemTokens tokens = random->tokens(data);
  EXPECT_LT(purity(tokens.codes), 0.45);
  EXPECT_EQ(std::set<std::int32_t>(tokens.codes.begin(), tokens.codes.end()).size(), 9u);  // all 8, and -1
  const auto bits = [](const Tensor& x) {
    return std::vector<float>(x.values<float>().begin(), x.values<float>().end());
  };
  EXPECT_EQ(bits(tokens.item_vectors), bits(learnt->tokens(data).item_vectors));
  EXPECT_EQ(bits(tokens.user_vectors), bits(learnt->tokens(data).user_vectors));
  EXPECT_TRUE(random->health(data).empty());
  EXPECT_FALSE(random->last_level_distances(data));
  MemoryState state;
  random->visit(state);
  state.load(true);
  const auto other = make(kSmall + "random_codes = true");
  other->visit(state);
  EXPECT_EQ(other->encode(data.features), random->encode(data.features));
  EXPECT_NE(message([&] { make(kSmall + "random_codes = true\njoint_epochs = 1"); }).find("no quantiser to learn"),
            std::string::npos);
  EXPECT_NE(message([&] { make(kSmall + "random_codes = true\ncontent = 1.0"); }).find("no quantiser to read it"),
            std::string::npos);
}

TEST(GraphRqVae, OptionsOfTheOtherNetworkAreRefused) {
  EXPECT_NE(message([&] { make(kSmall + "graph_l2 = 0.1"); }).find("only used with network = 'light'"),
            std::string::npos);
  EXPECT_NE(message([&] { make(kLight + "hidden_width = 16"); }).find("only used with network = 'sage'"),
            std::string::npos);
  EXPECT_NE(message([&] { make(kSoftmax + "negatives = 2"); }).find("only used with graph_loss = 'bpr'"),
            std::string::npos);
  EXPECT_NE(message([&] { make(kLight + "graph_temperature = 0.2"); }).find("only used with graph_loss = 'softmax'"),
            std::string::npos);
}

TEST(GraphRqVae, CodesOfContentAloneLeaveTheVectors) {
  const Dataset data = world();
  FitContext context;
  const auto content = make(kSmall + "content_only = true"), learnt = make(kSmall);
  content->fit(data, context);
  learnt->fit(data, context);
  const ItemTokens tokens = content->tokens(data);
  EXPECT_LT(purity(tokens.codes), 0.7);  // features know two of four groups
  const Tensor same = learnt->tokens(data).item_vectors;
  for (std::size_t n = 0; n < same.values<float>().size(); ++n)
    ASSERT_EQ(tokens.item_vectors.values<float>()[n], same.values<float>()[n]);
  EXPECT_EQ(content->encode(data.features)[0], tokens.codes[0]);
  EXPECT_NE(message([&] { make(kSmall + "content_only = true\ncontent = 1.0"); }).find("quantises features alone"),
            std::string::npos);
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
  const auto light = codes_of(kLight, data), softmax = codes_of(kSoftmax, data);
  set_threads(3);
  EXPECT_EQ(codes_of(kLight, data), light);
  EXPECT_EQ(codes_of(kSoftmax, data), softmax);
  set_threads(1);
}

// Step, batch and norm of a loss that is none; nothing is learnt from it.
TEST(GraphRqVae, ALossThatIsNotFiniteStopsTheGraph) {
  Dataset data = world();
  Tensor& text = data.features["text"].values;
  for (std::int64_t i = 0; i < text.numel(); ++i) text.data<float>()[i] *= 1e25f;
  const std::string found = message([&] { codes_of(kSmall + "normalize = 'none'", data); });
  EXPECT_EQ(found.rfind("graph_rq_vae: the loss is ", 0), 0u) << found;
  EXPECT_NE(found.find(" at step 1 (epoch 1, batch 1) of graph, gradient norm "), std::string::npos) << found;
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
