#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "framework/nn/pair_testing.h"
#include "framework/roles/frozen_weights.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::Pair;
using testing::random_tokens;

Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

const std::string kModel =
    "plugin = \"flat_transformer\"\nwidth = 16\nlayers = 1\nheads = 2\nffn = 32\nmax_items = 9\ndeviation = 0.2\n";
const std::string kHead = "plugin = \"tcn\"\n";

// Two modalities, three levels each; some items lack one.
ItemTokens two_modalities(std::int64_t items) {
  ItemTokens tokens = random_tokens(items, 6, 5);
  for (std::size_t l = 0; l < 6; ++l) tokens.levels[l].modality = l < 3 ? "text" : "image";
  for (std::size_t l = 0; l < 3; ++l) tokens.codes[6 + l] = tokens.codes[18 + 3 + l] = -1;
  return tokens;
}

std::vector<std::string> variants() {
  std::vector<std::string> out{"variant = \"mean\"", "layers = 3"};
  for (const char* variant : {"fm", "cross"})
    for (const char* towers : {"both", "specific", "agnostic"})
      out.push_back(str("variant = \"", variant, "\"\ntowers = \"", towers, "\""));
  return out;
}

Histories circle() {  // the next item is always the last one plus one
  Histories whole;
  for (std::int32_t b = 0; b < 12; ++b) {
    whole.user.push_back(b);
    for (std::int32_t i = 0; i < 8; ++i) whole.item.push_back((b + i) % 12);
    whole.offset.push_back(whole.size());
  }
  return whole;
}

Tensor rows_of(const Tensor& all, const std::vector<std::int32_t>& items) {
  Tensor out({static_cast<std::int64_t>(items.size()), all.columns()});
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    if (items[i] < 0) out.row_range(row, row + 1).fill(0.0);
    else out.row_range(row, row + 1).copy_from(all.row_range(items[i], items[i] + 1));
  }
  return out;
}

// A model of the graph, with vectors of its own for users and the tower's for items.
class Lookup final : public Model {
 public:
  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = 8;
    spec.reads_histories = false;
    spec.wants_item_vectors = true;
    return spec;
  }
  void build(const BuildContext&, ItemVectorSource*) override { users_ = &add_parameter("users", {4, 8}, normal(0.1)); }
  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override { return {(*users_)(), tower->all()}; }

 private:
  Parameter* users_ = nullptr;
};

}  // namespace

TEST(Tcn, OnePrivateTokenAndTheMeanAreTheIdModelStepByStep) {
  const ItemTokens ids = random_tokens(12, 1, 12);
  for (const char* loss : {"loss = \"softmax\"\nrepeat = true", "loss = \"sampled_softmax\"\nnegatives = 6",
                           "loss = \"bce\"\nnegatives = 4", "loss = \"bpr\"\nnegatives = 4"}) {
    Pair id(plugins(), ids, kModel, str("plugin = \"dot_product\"\ndeviation = 0.1\n", loss));
    Pair token(plugins(), ids, kModel, kHead + "variant = \"mean\"\n" + loss);
    const TrainBatch batch = batch_of(circle(), id.form());
    for (int step = 1; step <= 6; ++step) {
      EXPECT_EQ(id.train(batch, 1, 0.02), token.train(batch, 1, 0.02)) << loss << ", step " << step;
      const auto a = id.parameters(), b = token.parameters();
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].first, b[i].first);
        EXPECT_EQ(std::memcmp(a[i].second->value.raw(), b[i].second->value.raw(), a[i].second->value.bytes()), 0)
            << a[i].first;
      }
    }
  }
}

TEST(Tcn, EveryVariantLearnsAToyTaskWithEveryLoss) {
  for (const std::string& variant : variants()) {
    for (const char* loss : {"loss = \"softmax\"", "loss = \"sampled_softmax\"\nnegatives = 6",
                             "loss = \"bce\"\nnegatives = 4", "loss = \"bpr\"\nnegatives = 4"}) {
      if (variant.find("both") == std::string::npos && std::string(loss).find("\"softmax") == std::string::npos)
        continue;
      Pair pair(plugins(), two_modalities(12), kModel, kHead + variant + "\n" + loss);
      pair.train(batch_of(circle(), pair.form()), 120, 0.02);
      RankRequest request;
      request.k = 1;
      Histories asked = testing::row_of(circle(), 3);
      asked.item.pop_back();
      asked.offset = {0, 7};
      EXPECT_EQ(pair.head->rank(*pair.model, asked, request).item[0], (3 + 7) % 12) << variant << "\n" << loss;
    }
  }
}

TEST(Tcn, VectorsOfSomeItemsAreRowsOfAll) {
  for (const std::string& variant : variants()) {
    const std::vector<std::int32_t> items{7, 1, -1, 7, 3};
    Pair few(plugins(), two_modalities(30), kModel, kHead + variant + "\nloss = \"bpr\"");
    Pair whole(plugins(), two_modalities(30), kModel, kHead + variant);
    for (Pair* pair : {&few, &whole}) {
      ItemVectorSource* tower = pair->head->item_tower();
      const Tensor some = tower->vectors(items), all = tower->all();
      EXPECT_LT(testing::largest_difference(some, rows_of(all, items)), 1e-6) << variant;
    }
  }
}

TEST(Tcn, AllVectorsAreMadeOnceATapeAndOnceAScope) {
  Pair pair(plugins(), two_modalities(20), kModel, kHead);
  ItemVectorSource* tower = pair.head->item_tower();
  Parameter* table = nullptr;
  for (const auto& [name, parameter] : pair.head->parameters())
    if (name == "tower.tokens.table") table = parameter;
  ASSERT_NE(table, nullptr);
  {
    Tape tape;
    const Tensor first = tower->all();
    EXPECT_EQ(tower->all().raw(), first.raw());
    Tape inner;
    EXPECT_NE(tower->all().raw(), first.raw());
  }
  EXPECT_NE(tower->all().raw(), tower->all().raw()) << "weights may change";
  Tensor kept;
  {
    const FrozenWeights frozen;
    kept = tower->all();
    EXPECT_EQ(tower->all().raw(), kept.raw());
  }
  table->value.fill(0.5);
  const FrozenWeights frozen;
  EXPECT_GT(testing::largest_difference(tower->all(), kept), 0.1);
}

TEST(Tcn, MissingTokensCountNowhere) {
  // Item 0 has text alone: what stands on its image levels in other items must not matter.
  for (const std::string& variant : variants()) {
    ItemTokens tokens = two_modalities(8);
    for (std::size_t l = 3; l < 6; ++l) tokens.codes[l] = -1;
    Pair pair(plugins(), tokens, kModel, kHead + variant);
    for (const auto& [name, parameter] : pair.head->parameters())
      if (name == "tower.tokens.table") std::fill_n(parameter->value.data<float>() + 15 * 16, 15 * 16, 1e3f);
    const Tensor all = pair.head->item_tower()->all();
    for (std::int64_t j = 0; j < 16; ++j) EXPECT_LT(std::abs(all.data<float>()[j]), 50.0f) << variant;
  }
  // An item without any token is the zero vector, but for the offset of fm.
  ItemTokens bare = two_modalities(8);
  for (std::size_t l = 0; l < 6; ++l) bare.codes[l] = -1;
  Pair pair(plugins(), bare, kModel, kHead);
  for (std::int64_t j = 0; j < 16; ++j) EXPECT_EQ(pair.head->item_tower()->all().data<float>()[j], 0.0f);
}

TEST(Tcn, TokenDropoutIsForTrainingAlone) {
  Pair pair(plugins(), two_modalities(20), kModel, kHead + "token_dropout = 0.5");
  ItemVectorSource* tower = pair.head->item_tower();
  const Tensor whole = tower->all();
  EXPECT_EQ(testing::largest_difference(tower->all(), whole), 0.0);
  const auto at = [&](std::uint64_t step) {
    const TrainingScope scope(1, step);
    return tower->all();
  };
  EXPECT_GT(testing::largest_difference(at(1), whole), 1e-3);
  EXPECT_GT(testing::largest_difference(at(1), at(2)), 1e-3);
  EXPECT_EQ(testing::largest_difference(at(1), at(1)), 0.0);
}

TEST(Tcn, CentroidsGiveLikeItemsLikeVectors) {
  // Two groups of items, told apart by the tokenizer's vectors alone.
  ItemTokens tokens = random_tokens(10, 2, 10);
  tokens.token_vectors = Tensor({20, 3});
  for (std::int64_t row = 0; row < 20; ++row)
    for (std::int64_t j = 0; j < 3; ++j)
      tokens.token_vectors.data<float>()[row * 3 + j] =
          static_cast<float>((row % 2 == 0 ? 1 : -1) * (j + 1)) + 0.01f * static_cast<float>(row);
  Pair pair(plugins(), tokens, kModel, kHead + "init = \"centroids\"\nvariant = \"mean\"");
  const Tensor table = pair.head->parameters().front().second->value;
  const auto dot = [&](std::int64_t a, std::int64_t b) {
    double sum = 0.0;
    for (std::int64_t j = 0; j < 3; ++j) sum += table.data<float>()[a * 16 + j] * table.data<float>()[b * 16 + j];
    return sum;
  };
  EXPECT_GT(dot(0, 2), 0.0);
  EXPECT_LT(dot(0, 1), 0.0);
  EXPECT_NE(table.data<float>()[3], 0.0f);  // beyond the three directions it is normal
}

TEST(Tcn, SameBitsForAnyNumberOfThreads) {
  for (const std::string& variant : {std::string("layers = 2"), std::string("variant = \"fm\"")})
    EXPECT_TRUE(same_bits([&] {
      Pair pair(plugins(), two_modalities(60), kModel, kHead + variant + "\ntoken_dropout = 0.1");
      pair.train(batch_of(histories_of_lengths({4, 7, 9}, 60), pair.form()), 3, 0.02);
      return pair.head->item_tower()->all().clone();
    })) << variant;
}

TEST(Tcn, GraphModelsPropagateItsVectors) {
  Pair pair(plugins(), two_modalities(10), kModel,
            kHead + "loss = \"bpr\"\nnegatives = 3\nnegative_sampling = \"uniform\"");
  const auto head = plugins().create<Head>(
      Section::parse("head", kHead + "loss = \"bpr\"\nnegatives = 3\nnegative_sampling = \"uniform\""));
  auto model = std::make_shared<Lookup>();
  const BuildContext context{pair.data, *pair.catalog, 1};
  head->build(context, model->spec());
  model->build(context, head->item_tower());
  model->initialize(1, "model.");
  head->initialize(1, "head.");
  pair.model = model;
  pair.head = head;
  TrainBatch batch;
  batch.histories.user = {0, 1, 2, 3};
  batch.histories.offset = {0, 0, 0, 0, 0};
  batch.target = {4, 7, 1, 2};
  pair.train(batch, 200, 0.05);
  RankRequest request;
  request.k = 1;
  EXPECT_EQ(pair.head->rank(*pair.model, batch.histories, request).item, batch.target);
}

TEST(Tcn, OptionsThatDoNotFitAreNamed) {
  const auto made = [](const std::string& options) {
    return message_of([&] { Pair(plugins(), random_tokens(6, 2, 4), kModel, kHead + options); });
  };
  EXPECT_NE(made("init = \"centroids\"")
                .find("init = \"centroids\" starts from the tokenizer's own vectors, but this tokenizer "
                      "brings none; take the tokenizer pq (without random_codes)"),
            std::string::npos)
      << made("init = \"centroids\"");
  EXPECT_NE(made("variant = \"fm\"\nlayers = 2").find("layers belongs to variant = \"cross\", but variant = \"fm\""),
            std::string::npos);
  EXPECT_NE(made("variant = \"mean\"\ntowers = \"both\"").find("towers has no meaning with variant = \"mean\""),
            std::string::npos);
  EXPECT_NE(made("loss = \"bce\"\nrepeat = true").find("repeat is learnt by loss = \"softmax\" alone"),
            std::string::npos);
}

}  // namespace tessera
