// Every model that reads the graph, through its plugin and from TOML: one training step equals PyTorch on the world of
// 20 users (tests/golden/graph_models), the same bits for any number of threads, training, ranking with ids and with
// tokens.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "framework/data/batches.h"
#include "framework/plugin/testing.h"
#include "framework/roles/frozen_weights.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tests/graph_models/world.h"

namespace tessera {

Tensor testing::System::sum(const std::pair<Tensor, Tensor>& parts) {
  if (!parts.first || !parts.second) return parts.first ? parts.first : parts.second;
  return add(parts.first, parts.second);
}

TrainBatch testing::System::batch(std::int64_t rows) const {
  BatchOptions options;
  options.form = BatchForm::one_target;
  options.subsequences = options.empty_histories = true;
  options.with_histories = false;
  options.batch_size = rows;
  options.negatives = 1;
  return Batches(data, options, 1).batch(0, 0);
}

namespace {

using testing::System;

struct Kind {
  const char* plugin;
  const char* extra;  // options for small worlds, beside the width
  bool own_loss = false, trains_features = false;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.plugin; }
const std::vector<Kind> kModels = {
    {"vbpr", ""},
    {"lightgcn", ""},
    {"bm3", "dropout = 0.2\n", true, true},
    {"slmrec", "", true},
    {"freedom", "neighbours = 5\nedge_dropout = 0.5\nmodality_loss = 0.1\n", false, true},
    {"mgcn", "neighbours = 5\n", false, true},
    {"lgmrec", "keep = 0.5\n"},
    {"lattice", "neighbours = 5\n", false, true},
    {"grcn", ""},
    {"mmgcn", "latent = 8\n"},
};

std::string with_plugin(const std::string& plugin, const std::string& options) {
  return str("plugin = \"", plugin, "\"\n", options);
}
std::string model_of(const Kind& kind) { return with_plugin(kind.plugin, str("width = 16\n", kind.extra)); }
std::string head_of(const Kind& kind, const std::string& head = "dot_product") {
  return with_plugin(head, kind.own_loss ? "loss = \"none\"\n" : "loss = \"bpr\"\n");
}

double largest(const Tensor& x) {
  double top = 0.0;
  for (const double v : x.to(DType::f64).values<double>()) top = std::max(top, std::abs(v));
  return top;
}

// The largest difference as a share of the largest expected number, or of `floor` where that is more.
double difference(const Tensor& found, const Tensor& expected, double floor = 1e-30) {
  EXPECT_EQ(found.numel(), expected.numel());
  const Tensor a = found.to(DType::f64);
  double worst = 0.0;
  for (std::size_t i = 0; i < expected.values<double>().size(); ++i)
    worst = std::max(worst, std::abs(a.values<double>()[i] - expected.values<double>()[i]));
  return worst / std::max(largest(expected), floor);
}

TrainBatch batch_of(const std::map<std::string, Tensor>& golden) {
  const auto list = [&](const char* name) {
    const auto values = golden.at(name).values<std::int32_t>();
    return std::vector<std::int32_t>(values.begin(), values.end());
  };
  TrainBatch batch;
  batch.histories.user = list("batch/users");
  batch.histories.offset.assign(batch.histories.user.size() + 1, 0);
  batch.target = list("batch/positive");
  batch.negative = list("batch/negative");
  return batch;
}

// Loss, its parts, gradients and vectors of `prefix` in the golden file. without: names (by their beginning) of
// parameters that must get no gradient.
void compare(const std::string& plugin, const std::string& extra = "", const std::string& prefix = "",
             const std::vector<std::string>& without = {}) {
  const TensorFile file =
      read_safetensors(str(TESSERA_SOURCE_DIR "/tests/golden/graph_models/", plugin, ".safetensors"));
  const auto& golden = file.tensors;
  std::string options = file.metadata.at("model");
  const auto key = extra.substr(0, extra.find(' '));
  if (const auto place = options.find(key + " ="); !extra.empty() && place != std::string::npos)
    options.erase(place, options.find('\n', place) + 1 - place);
  System system(testing::golden_world(golden), testing::id_tokens(testing::golden_world(golden)),
                with_plugin(plugin, options + extra), with_plugin("dot_product", file.metadata.at("head")));
  for (auto& [name, parameter] : system.parameters()) {
    ASSERT_TRUE(golden.contains("value/" + name)) << name;
    ASSERT_EQ(golden.at("value/" + name).shape(), parameter->value.shape()) << name;
    parameter->value = golden.at("value/" + name).to(DType::f32);
  }
  const auto [users, items] = system.model->propagate(system.head->item_tower());
  EXPECT_LT(difference(users, golden.at(prefix + "users")), 1e-5);
  EXPECT_LT(difference(items, golden.at(prefix + "items")), 1e-5);

  const TrainBatch batch = batch_of(golden);
  Tape tape;
  const auto parts = system.parts(batch);
  const Tensor loss = System::sum(parts);
  for (const auto& [found, name] : {std::pair(parts.first, "loss/head"), std::pair(parts.second, "loss/auxiliary")})
    EXPECT_NEAR(found ? found.item() : 0.0, golden.at(prefix + name).item(), 1e-5 * golden.at(prefix + "loss").item());
  EXPECT_LT(difference(loss, golden.at(prefix + "loss")), 1e-5);
  tape.backward(loss);
  double top = 0.0;
  for (auto& [name, parameter] : system.parameters())
    if (golden.contains(prefix + "gradient/" + name))
      top = std::max(top, largest(golden.at(prefix + "gradient/" + name)));
  for (auto& [name, parameter] : system.parameters()) {
    const bool none = std::any_of(without.begin(), without.end(),
                                  [&name = name](const auto& w) { return name.find(w) != std::string::npos; });
    if (none) {
      EXPECT_FALSE(parameter->gradient) << name;
      continue;
    }
    ASSERT_TRUE(parameter->gradient) << name;
    EXPECT_LT(difference(parameter->gradient, golden.at(prefix + "gradient/" + name), 0.01 * top), 1e-5) << name;
  }
}

class GraphModels : public ::testing::TestWithParam<Kind> {
 protected:
  static System with_ids(int users = 60, int items = 40) {
    const Dataset data = testing::random_world(users, items);
    return {data, testing::id_tokens(data), model_of(GetParam()), head_of(GetParam())};
  }
};
class EveryGraphModelGoldenGrad : public GraphModels {};

TEST_P(EveryGraphModelGoldenGrad, OneStepEqualsPyTorch) { compare(GetParam().plugin); }

// With constant features all other gradients are the same.
TEST(GraphModelsGoldenGrad, FeaturesNeedNotBeTrained) {
  for (const Kind& kind : kModels) {
    SCOPED_TRACE(kind.plugin);
    if (kind.trains_features) compare(kind.plugin, "train_features = false\n");
  }
}

// The public codes' forms, where they matter for comparisons.
TEST(GraphModelsGoldenGrad, RoutingOfGrcnAsPublished) { compare("grcn", "published_routing = true\n", "published/"); }
TEST(GraphModelsGoldenGrad, TableOfMmgcnAsPublished) {
  compare("mmgcn", "train_table = false\n", "", {"users", "preference", "tower"});
}

TEST(GraphModelsErrors, SlmrecHalvesItsWidth) {
  const Dataset data = testing::random_world(60, 40);
  try {
    System(data, testing::id_tokens(data), with_plugin("slmrec", "width = 15\n"), head_of({"slmrec", "", true}));
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(
        error.what(),
        "model:2:1: width is 15, but the second modality is contrasted in half of it; expected an even number");
  }
}

TEST_P(GraphModels, SameBitsForAnyNumberOfThreads) {
  std::vector<std::vector<float>> found;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    System system = with_ids(700, 600);
    const TrainingScope scope(3, 1);
    const TrainBatch batch = system.batch(512);
    std::vector<float> numbers{static_cast<float>(system.gradient(batch))};
    for (auto& [name, parameter] : system.parameters())
      if (parameter->gradient)
        numbers.insert(numbers.end(), parameter->gradient.values<float>().begin(),
                       parameter->gradient.values<float>().end());
    found.push_back(std::move(numbers));
  }
  set_threads(1);
  for (const auto& other : found) {
    ASSERT_EQ(other.size(), found[0].size());
    EXPECT_EQ(std::memcmp(other.data(), found[0].data(), other.size() * sizeof(float)), 0);
  }
}

// Vectors of a batch's rows are rows of the whole graph's, users and items in any order, twice too.
TEST_P(GraphModels, VectorsOfABatchAreRowsOfAll) {
  System system = with_ids();
  const std::vector<std::int32_t> some_users{5, 59, 0, 5}, some_items{39, 7, 7, 0, 12};
  const auto [users, items] = system.model->propagate(system.head->item_tower());
  const auto [u, i] = system.model->propagate_batch(system.head->item_tower(), some_users, some_items);
  for (const auto& [part, all, rows] : {std::tuple(u, users, some_users), std::tuple(i, items, some_items)})
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const auto line = static_cast<std::int64_t>(r);
      const Tensor expected = all.row_range(rows[r], rows[r] + 1).to(DType::f64);
      EXPECT_LT(difference(part.row_range(line, line + 1), expected, 1e-3), 1e-5) << rows[r];
    }
  EXPECT_EQ(users.columns(), system.model->spec().width);
  EXPECT_EQ(users.rows(), 60);
  EXPECT_EQ(items.rows(), 40);
}

// Trains on one batch, then ranks users who are known and one who has no training interaction; an unknown one is
// refused.
void train_and_rank(System& system) {
  const TrainBatch batch = system.batch(64);
  const double before = system.train(batch, 1, 0.01);
  for (int step = 2; step < 12; ++step) system.train(batch, step, 0.01);
  EXPECT_LT(system.gradient(batch), before);
  for (auto& [name, parameter] : system.parameters()) EXPECT_TRUE(std::isfinite(largest(parameter->value))) << name;

  Histories asked;
  asked.user = {0, 59, 31, 17};
  asked.offset.assign(5, 0);
  RankRequest request;
  request.k = 39;
  request.excluded_offset = {0, 1, 2, 3, 4};
  request.excluded = {3, 0, 39, 8};
  const FrozenWeights frozen;
  const Ranking ranking = system.head->rank(*system.model, asked, request);
  std::vector<std::int32_t> items(4 * 40);
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = static_cast<std::int32_t>(i % 40);
  const std::vector<std::int64_t> offset{0, 40, 80, 120, 160};
  const std::vector<float> score = system.head->score(*system.model, asked, offset, items);
  for (std::size_t b = 0; b < 4; ++b) {
    std::set<std::int32_t> seen;
    for (std::size_t r = 0; r < 39; ++r) {
      const std::int32_t item = ranking.item[b * 39 + r];
      ASSERT_GE(item, 0);
      EXPECT_NE(item, request.excluded[b]);
      EXPECT_TRUE(seen.insert(item).second);
      EXPECT_NEAR(ranking.score[b * 39 + r], score[b * 40 + static_cast<std::size_t>(item)], 1e-5);
      if (r > 0) {
        EXPECT_LE(ranking.score[b * 39 + r], ranking.score[b * 39 + r - 1]);
      }
    }
  }
  asked.user[1] = -1;
  EXPECT_NE(message_of([&] { system.head->rank(*system.model, asked, request); }).find("for users of the data"),
            std::string::npos);
}

TEST_P(GraphModels, TrainsAndRanksWithIds) {
  System system = with_ids();
  train_and_rank(system);
}

TEST_P(GraphModels, TrainsAndRanksWithTokens) {
  const Dataset data = testing::random_world(60, 40);
  System system(data, testing::modality_tokens(data, 2), model_of(GetParam()), head_of(GetParam(), "tcn"));
  train_and_rank(system);
}

// One modality of the two is enough, and a wrong one is named; lightgcn reads none.
TEST_P(GraphModels, ReadsTheModalitiesThatAreNamed) {
  const std::string plugin = GetParam().plugin;
  if (plugin == "lightgcn") return;
  const Dataset data = testing::random_world(60, 40);
  System system(data, testing::id_tokens(data), model_of(GetParam()) + "modalities = [\"text\"]\n",
                head_of(GetParam()));
  for (const auto& [name, parameter] : system.parameters()) EXPECT_EQ(name.find("image"), std::string::npos) << name;
  const TrainBatch batch = system.batch(64);
  EXPECT_TRUE(std::isfinite(system.train(batch, 1, 0.01)));
  const auto made = [&](const Dataset& world, const std::string& options) {
    return message_of(
        [&] { System(world, testing::id_tokens(world), model_of(GetParam()) + options, head_of(GetParam())); });
  };
  EXPECT_NE(made(data, "modalities = [\"sound\"]\n").find("'sound' is not among the features"), std::string::npos)
      << made(data, "modalities = [\"sound\"]\n");
  Dataset bare = data;
  bare.features.clear();
  EXPECT_NE(made(bare, "").find("the model reads features of items, but 'world' has none"), std::string::npos)
      << made(bare, "");
}

TEST(Grcn, MustKnowHowManyModalitiesThereAre) {
  const Dataset data = testing::random_world(60, 40);
  const std::string said = message_of([&] {
    System(data, testing::id_tokens(data), "plugin = \"grcn\"\nmodality_count = 3\n",
           "plugin = \"dot_product\"\nloss = \"bpr\"\n");
  });
  EXPECT_NE(said.find("the data has 2 modalities, but modality_count is 3; set it to 2, or name some in modalities"),
            std::string::npos)
      << said;
}

std::string name_of_case(const ::testing::TestParamInfo<Kind>& info) { return info.param.plugin; }
INSTANTIATE_TEST_SUITE_P(All, GraphModels, ::testing::ValuesIn(kModels), name_of_case);
INSTANTIATE_TEST_SUITE_P(All, EveryGraphModelGoldenGrad, ::testing::ValuesIn(kModels), name_of_case);

}  // namespace
}  // namespace tessera
