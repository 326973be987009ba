#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "framework/data/batches.h"
#include "framework/nn/pair_testing.h"
#include "framework/roles/frozen_weights.h"
#include "tensor/core/testing.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::Pair;
using testing::random_tokens;

Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

const std::string kModel =
    "plugin = \"flat_transformer\"\nwidth = 16\nlayers = 1\nheads = 2\nffn = 32\nmax_items = 9\ndeviation = 0.2\n";
const std::string kHead = "plugin = \"dot_product\"\n";

Ranking rank(Pair& pair, const Histories& histories, const RankRequest& request) {
  return pair.head->rank(*pair.model, histories, request);
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
  std::pair<Tensor, Tensor> propagate(ItemVectorSource* tower) override {
    ++propagated;
    return {(*users_)(), tower->all()};
  }
  std::pair<Tensor, Tensor> propagate_batch(ItemVectorSource* tower, std::span<const std::int32_t> users,
                                            std::span<const std::int32_t> items) override {
    asked.assign(items.begin(), items.end());
    return {gather_rows((*users_)(), users), tower->vectors(items)};
  }
  int propagated = 0;
  std::vector<std::int32_t> asked;

 private:
  Parameter* users_ = nullptr;
};

}  // namespace

TEST(DotProduct, RankAgreesWithScoreAndObeysFilters) {
  for (const char* tower : {"sum", "mean"}) {
    Pair pair(plugins(), random_tokens(40, 3, 5), kModel,
              kHead + "normalize = true\ntemperature = 0.5\ntower = \"" + tower + "\"");
    const Histories histories = histories_of_lengths({4, 0, 7}, 40);
    RankRequest request;
    request.k = 40;
    request.excluded_offset = {0, 2, 2, 3};
    request.excluded = {5, 6, 0};
    request.allowed.assign(40, 1);
    request.allowed[11] = 0;
    const Ranking ranking = rank(pair, histories, request);
    std::vector<std::int64_t> offset{0, 40, 80, 120};
    std::vector<std::int32_t> items;
    for (int b = 0; b < 3; ++b)
      for (std::int32_t i = 0; i < 40; ++i) items.push_back(i);
    const std::vector<float> score = pair.head->score(*pair.model, histories, offset, items);
    for (std::size_t b = 0; b < 3; ++b) {
      int filled = 0;
      for (std::size_t j = 0; j < 40; ++j) {
        const std::int32_t item = ranking.item[b * 40 + j];
        if (item < 0) continue;
        ++filled;
        EXPECT_NE(item, 11);
        EXPECT_NEAR(ranking.score[b * 40 + j], score[b * 40 + static_cast<std::size_t>(item)], 1e-5);
        if (j > 0) {
          EXPECT_GE(ranking.score[b * 40 + j - 1], ranking.score[b * 40 + j]);
        }
      }
      EXPECT_EQ(filled, b == 0 ? 37 : b == 1 ? 39 : 38);
    }
  }
}

TEST(DotProduct, TheMeanCountsPresentTokensAlone) {
  ItemTokens tokens = random_tokens(6, 2, 3);
  tokens.codes[1] = -1;
  Pair mean(plugins(), tokens, kModel, kHead + "tower = \"mean\""), sum(plugins(), tokens, kModel, kHead);
  const std::vector<std::int32_t> items{0, 1, -1};
  const Tensor a = mean.head->item_tower()->vectors(items), b = sum.head->item_tower()->vectors(items);
  for (std::size_t d = 0; d < 16; ++d) {
    EXPECT_EQ(a.values<float>()[d], b.values<float>()[d]);                        // one token
    EXPECT_NEAR(2 * a.values<float>()[16 + d], b.values<float>()[16 + d], 1e-6);  // two
    EXPECT_EQ(a.values<float>()[32 + d], 0.0f);
  }
}

TEST(DotProduct, OneTokenAnItemIsThePlainTable) {
  Pair pair(plugins(), random_tokens(20, 1, 20), kModel, kHead);
  const Tensor all = pair.head->item_tower()->all();
  EXPECT_EQ(all.raw(), pair.head->parameters()[0].second->value.raw());
}

TEST(DotProduct, EveryLossLearnsAToyTask) {
  // The next item is always the last one plus one.
  Histories whole;
  for (std::int32_t b = 0; b < 12; ++b) {
    whole.user.push_back(b);
    for (std::int32_t i = 0; i < 8; ++i) whole.item.push_back((b + i) % 12);
    whole.offset.push_back(whole.size());
  }
  for (const char* loss : {"loss = \"softmax\"", "loss = \"sampled_softmax\"\nnegatives = 6",
                           "loss = \"sampled_softmax\"\nnegatives = 6\nnegative_sampling = \"popularity\"",
                           "loss = \"bce\"\nnegatives = 4", "loss = \"bpr\"\nnegatives = 4"}) {
    Pair pair(plugins(), random_tokens(12, 1, 12), kModel, kHead + loss);
    pair.train(batch_of(whole, pair.form()), 150, 0.02);
    RankRequest request;
    request.k = 1;
    Histories asked = testing::row_of(whole, 3);  // as long as the positions that were trained
    asked.item.pop_back();
    asked.offset = {0, 7};
    EXPECT_EQ(rank(pair, asked, request).item[0], (3 + 7) % 12) << loss;
  }
}

// A model of the graph under a head with the given loss.
std::shared_ptr<Lookup> put_lookup(Pair& pair, const std::string& loss) {
  pair.head = plugins().create<Head>(Section::parse("head", kHead + loss));
  auto model = std::make_shared<Lookup>();
  pair.model = model;
  const BuildContext context{pair.data, *pair.catalog, 1};
  pair.head->build(context, model->spec());
  model->build(context, pair.head->item_tower());
  model->initialize(1, "model.");
  pair.head->initialize(1, "head.");
  return model;
}

// Each target with some of the other items, 9 for all of them.
TrainBatch graph_batch(std::int32_t negatives = 3) {
  TrainBatch batch;
  batch.histories.user = {0, 1, 2, 3};
  batch.histories.offset = {0, 0, 0, 0, 0};
  batch.target = {4, 7, 1, 2};
  for (const std::int32_t target : batch.target)
    for (std::int32_t n = 1; n <= negatives; ++n) batch.negative.push_back((target + 3 * n) % 10);
  return batch;
}

TEST(DotProduct, GraphModelsPropagate) {
  const TrainBatch batch = graph_batch(9);
  for (const char* loss : {"loss = \"bpr\"\nnegatives = 9", "loss = \"bce\"\nnegatives = 9",
                           "loss = \"bpr\"\nnegatives = 9\nnegative_sampling = \"popularity\"",
                           "loss = \"sampled_softmax\"\nnegatives = 5", "loss = \"softmax\""}) {
    Pair pair(plugins(), random_tokens(10, 2, 4), kModel, kHead);
    const auto model = put_lookup(pair, loss);
    EXPECT_EQ(pair.form(), BatchForm::one_target);
    pair.train(batch, 200, 0.05);
    RankRequest request;
    request.k = 1;
    EXPECT_EQ(rank(pair, batch.histories, request).item, batch.target) << loss;
    // Where only some items are compared, only those are propagated.
    EXPECT_EQ(model->propagated, std::string(loss) == "loss = \"softmax\"" ? 201 : 1) << loss;
  }
}

TEST(DotProduct, GraphModelsGetTheBatchsNegatives) {
  const TrainBatch batch = graph_batch();
  Pair pair(plugins(), random_tokens(10, 2, 4), kModel, kHead);
  const auto model = put_lookup(pair, "loss = \"bpr\"\nnegatives = 2");
  EXPECT_EQ(pair.head->spec(model->spec()).negatives, 2);
  const double loss = pair.loss_of(batch);
  EXPECT_EQ(model->asked, (std::vector<std::int32_t>{4, 7, 1, 2, 7, 0, 0, 3, 4, 7, 5, 8}));  // two of three a target
  const Tensor users = model->parameters()[0].second->value, items = pair.head->item_tower()->all();
  double expected = 0.0;
  for (std::size_t i = 0; i < 4; ++i)
    for (std::size_t n = 0; n < 2; ++n) {
      double difference = 0.0;
      for (std::size_t d = 0; d < 8; ++d)
        difference += users.values<float>()[8 * i + d] *
                      (items.values<float>()[8 * static_cast<std::size_t>(batch.target[i]) + d] -
                       items.values<float>()[8 * static_cast<std::size_t>(batch.negative[3 * i + n]) + d]);
      expected += std::log1p(std::exp(-difference)) / 8.0;
    }
  EXPECT_NEAR(loss, expected, 1e-6);
  put_lookup(pair, "loss = \"bpr\"\nnegatives = 4");
  EXPECT_EQ(message_of([&] { pair.loss_of(batch); }),
            "dot_product: the batch has 3 negatives a target, expected 4 or more");
}

TEST(DotProduct, HistoriesGetUnseenNegativesWhereAskedFor) {
  Pair pair(plugins(), random_tokens(12, 1, 12), kModel,
            kHead + "loss = \"bce\"\nnegatives = 2\nnegative_sampling = \"unseen\"");
  EXPECT_EQ(pair.head->spec(pair.model->spec()).negatives, 2);
  Pair other(plugins(), random_tokens(12, 1, 12), kModel, kHead + "loss = \"bce\"\nnegatives = 2");
  EXPECT_EQ(other.head->spec(other.model->spec()).negatives, 0);
  TrainBatch batch = batch_of(histories_of_lengths({4, 3}, 12), pair.form());
  for (std::size_t i = 0; i < 2 * batch.target.size(); ++i) batch.negative.push_back(static_cast<std::int32_t>(i % 5));
  const double loss = pair.loss_of(batch);
  batch.negative[0] = 11;
  EXPECT_NE(pair.loss_of(batch), loss);
}

TEST(DotProduct, TheGraphIsPropagatedOnceWhileWeightsAreFrozen) {
  Pair pair(plugins(), random_tokens(10, 2, 4), kModel, kHead);
  const auto model = put_lookup(pair, "loss = \"bpr\"");
  const Histories histories = graph_batch().histories;
  RankRequest request;
  request.k = 10;
  const Ranking before = rank(pair, histories, request);
  model->propagated = 0;
  {
    const FrozenWeights frozen;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(rank(pair, histories, request).score, before.score);
    EXPECT_EQ(model->propagated, 1);
  }
  pair.train(graph_batch(), 5, 0.1);
  const FrozenWeights frozen;
  EXPECT_NE(rank(pair, histories, request).score, before.score);
  EXPECT_EQ(model->propagated, 2);
}

TEST(DotProduct, WhatGraphModelsCannotDoIsSaid) {
  Pair pair(plugins(), random_tokens(10, 2, 4), kModel, kHead);
  EXPECT_NE(message_of([&] {
              put_lookup(pair, "loss = \"none\"");
            }).find("loss = \"none\" leaves training to the model, but this model has no loss of its own"),
            std::string::npos);
  put_lookup(pair, "loss = \"bpr\"");
  RankRequest request;
  EXPECT_NE(message_of([&] {
              rank(pair, histories_of({{1, 2}}), request);
            }).find("answers for users of the data, not for a history of somebody unknown"),
            std::string::npos);
}

TEST(DotProduct, RepeatIsLearntAndCountsInEveryAnswer) {
  // Each item stands twice in a row (the number rises), or nobody ever has an item twice (it falls).
  for (const bool twice : {true, false}) {
    Histories whole;
    for (std::int32_t b = 0; b < 12; ++b) {
      whole.user.push_back(b);
      for (std::int32_t i = 0; i < 8; ++i) whole.item.push_back((b + (twice ? i / 2 * 5 : i)) % 12);
      whole.offset.push_back(whole.size());
    }
    Pair pair(plugins(), random_tokens(12, 1, 12), kModel, kHead + "repeat = true");
    const auto number = [&] { return pair.head->parameters().front().second->value.item(); };
    ASSERT_EQ(pair.head->parameters().front().first, "repeat");
    pair.train(batch_of(whole, pair.form()), 30, 0.02);
    EXPECT_EQ(number() > 0.1, twice) << number();
    EXPECT_EQ(number() < -0.1, !twice) << number();

    const Histories histories = histories_of_lengths({4, 0, 7}, 12);
    RankRequest request;
    request.k = 12;
    request.excluded_offset = {0, 1, 1, 3};
    request.excluded = {histories.item[0], histories.item[4], 6};
    request.allowed.assign(12, 1);
    request.allowed[static_cast<std::size_t>(histories.item[5])] = 0;
    const Ranking ranking = rank(pair, histories, request);
    std::vector<std::int32_t> items;
    for (int b = 0; b < 3; ++b)
      for (std::int32_t i = 0; i < 12; ++i) items.push_back(i);
    const std::vector<std::int64_t> offset{0, 12, 24, 36};
    const std::vector<float> score = pair.head->score(*pair.model, histories, offset, items);
    for (std::size_t b = 0; b < 3; ++b) {
      std::vector<std::int32_t> expected;
      for (std::int32_t i = 0; i < 12; ++i) {
        bool open = request.allowed[static_cast<std::size_t>(i)] != 0;
        for (auto j = request.excluded_offset[b]; j < request.excluded_offset[b + 1]; ++j)
          open = open && request.excluded[static_cast<std::size_t>(j)] != i;
        if (open) expected.push_back(i);
      }
      const float* of = score.data() + b * 12;
      std::stable_sort(expected.begin(), expected.end(), [&](auto x, auto y) { return of[x] > of[y]; });
      expected.resize(12, -1);
      EXPECT_EQ(std::vector<std::int32_t>(ranking.item.begin() + static_cast<std::ptrdiff_t>(b * 12),
                                          ranking.item.begin() + static_cast<std::ptrdiff_t>(b * 12 + 12)),
                expected);
    }
  }
}

TEST(DotProduct, RepeatCountsInBothFormsOfTraining) {
  for (const char* causal : {"true", "false"}) {
    Pair pair(plugins(), random_tokens(12, 1, 12), kModel + "causal = " + causal + "\n", kHead + "repeat = true");
    pair.train(batch_of(histories_of_lengths({3, 8, 1}, 12), pair.form()), 1, 0.02);
    EXPECT_NE(pair.head->parameters().front().second->value.item(), 0.0);
  }
}

TEST(DotProduct, OptionsThatDoNotFitTheLossAreNamed) {
  const auto made = [](const std::string& options) {
    return message_of([&] { plugins().create<Head>(Section::parse("head", kHead + options)); });
  };
  EXPECT_NE(made("negatives = 4").find("negatives has no meaning with loss = \"softmax\""), std::string::npos)
      << made("negatives = 4");
  EXPECT_NE(made("loss = \"bce\"\nrepeat = true").find("repeat is learnt by loss = \"softmax\" alone"),
            std::string::npos);
  EXPECT_NE(made("loss = \"none\"\nnegatives = 4").find("loss = \"none\", which draws no negatives"),
            std::string::npos);
  EXPECT_NE(made("loss = \"sampled_softmax\"\nnegative_sampling = \"unseen\"")
                .find("draws negatives for each target, but loss = \"sampled_softmax\" shares them"),
            std::string::npos);
  EXPECT_NE(made("loss = \"bpr\"\nlabel_smoothing = 0.1").find("label_smoothing belongs to the softmax losses"),
            std::string::npos);
}

}  // namespace tessera
