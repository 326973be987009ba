#include <gtest/gtest.h>

#include <cmath>

#include "framework/data/batches.h"
#include "framework/eval/metrics.h"
#include "framework/nn/pair_testing.h"
#include "framework/plugin/testing.h"
#include "plugins/click/item_rates.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::Pair;
using testing::random_tokens;
using testing::row_of;
using testing::with_actions;

Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

const std::string kFlat =
    "plugin = \"flat_transformer\"\nwidth = 16\nlayers = 2\nheads = 2\nffn = 24\nmax_items = 9\ndeviation = 0.3\n";
const std::string kHead = "plugin = \"click\"\nhidden = [12]\ndeviation = 0.3\n";
const std::string kAll = kHead + "user_buckets = 5\nuser_width = 4\nlength_width = 3\nitem_bias = true\n";

struct Variant {
  std::string name, model;
};
const Variant kModels[] = {
    {"tokens", kFlat + "input = \"tokens\"\n"},
    {"tokens and actions", kFlat + "input = \"tokens\"\nactions = 2\n"},
    {"tokens and actions, rope, scaled",
     kFlat + "input = \"tokens\"\nactions = 2\npositions = \"rope\"\nscale_input = true\n"},
    {"items", kFlat + "item_input = \"tokens\"\nscale_input = true\n"},
    {"items and actions", kFlat + "item_input = \"tokens\"\nactions = 2\npositions = \"relative\"\nbuckets = 8\n"},
};

std::vector<std::int64_t> one_each(std::int64_t rows) {
  std::vector<std::int64_t> offset;
  for (std::int64_t i = 0; i <= rows; ++i) offset.push_back(i);
  return offset;
}

}  // namespace

TEST(Click, OnePassEqualsItemByItem) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kAll);
    const Histories all = with_actions(histories_of_lengths({4, 1, 9, 0, 6}, 30));
    const std::vector<float> once = pair.head->score_each(*pair.model, all);
    const std::vector<float> each = pair.head->Head::score_each(*pair.model, all);
    ASSERT_EQ(once.size(), 20u);
    ASSERT_EQ(each.size(), 20u);
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(once[i], each[i], 2e-5) << v.name << " " << i;
  }
}

TEST(Click, LongHistoriesAreScoredInWindows) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kAll);
    const Histories all = with_actions(histories_of_lengths({31, 9}, 30));
    const std::vector<float> scores = pair.head->score_each(*pair.model, all);
    ASSERT_EQ(scores.size(), 40u);
    Histories head = row_of(all, 0), tail = head;
    const auto cut = [](Histories& h, std::ptrdiff_t begin, std::ptrdiff_t end) {
      h.item = {h.item.begin() + begin, h.item.begin() + end};
      h.action = {h.action.begin() + begin, h.action.begin() + end};
      h.offset = {0, h.size()};
    };
    cut(head, 0, 9);
    cut(tail, 5, 14);  // the second window
    const auto first = pair.head->score_each(*pair.model, head), second = pair.head->score_each(*pair.model, tail);
    for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(scores[i], first[i], 1e-5) << v.name;
    for (std::size_t i = 9; i < 14; ++i) EXPECT_NEAR(scores[i], second[i - 5], 1e-5) << v.name;
  }
}

TEST(Click, StoredMemoriesAnswerAsHistoriesDo) {
  for (const Variant& v : kModels) {
    Pair named(plugins(), random_tokens(30, 3, 4), v.model, kAll);
    EXPECT_FALSE(named.head->spec(named.model->spec()).answers_memories);  // who asks is not in the memory
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kHead + "item_bias = true\n");
    ASSERT_TRUE(pair.head->spec(pair.model->spec()).answers_memories);
    const Histories all = with_actions(histories_of_lengths({4, 0, 14}, 30));
    const Memory memory = pair.model->encode(all);
    std::vector<std::vector<Tensor>> rows;
    for (std::int64_t b = 0; b < 3; ++b) rows.push_back(pair.model->export_row(memory, b));
    const Memory stored = pair.model->import_rows(rows);
    RankRequest request;
    const Ranking a = pair.head->rank(*pair.model, all, request),
                  b = pair.head->rank_memory(*pair.model, stored, request);
    EXPECT_EQ(a.item, b.item) << v.name;
    for (std::size_t i = 0; i < a.score.size(); ++i) EXPECT_NEAR(a.score[i], b.score[i], 1e-5) << v.name;
    const std::vector<std::int64_t> offset{0, 2, 3, 4};
    const std::vector<std::int32_t> items{3, 4, 5, 6};
    const auto whole = pair.head->score(*pair.model, all, offset, items),
               kept = pair.head->score_memory(*pair.model, stored, offset, items);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(whole[i], kept[i], 1e-5) << v.name;
  }
}

// What stands behind a full history is a place that training knows.
TEST(Click, CandidatesBehindFullHistoriesEqualTraining) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kAll);
    const Histories all = with_actions(histories_of_lengths({10}, 30));  // max_items and one
    Histories before = all;
    before.item.pop_back();
    before.action.pop_back();
    before.offset = {0, 9};
    const float score = pair.head->score(*pair.model, before, one_each(1), std::vector<std::int32_t>{all.item[9]})[0];
    TrainBatch batch = batch_of(all, pair.form());
    std::fill(batch.target.begin(), batch.target.end() - 1, -1);
    const double y = all.action[9], x = score;
    const TrainingScope scope(1, 1);
    EXPECT_NEAR(pair.head->loss(*pair.model, batch).item(), std::log1p(std::exp(x)) - y * x, 2e-5) << v.name;
  }
}

TEST(Click, AnItemsOwnActionIsHiddenFromItsScore) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kAll);
    Histories all = with_actions(histories_of_lengths({8}, 30));
    const std::vector<float> before = pair.head->score_each(*pair.model, all);
    all.action[4] = static_cast<std::int8_t>(1 - all.action[4]);
    const std::vector<float> after = pair.head->score_each(*pair.model, all);
    for (std::size_t i = 0; i <= 4; ++i) EXPECT_EQ(before[i], after[i]) << v.name;
    const bool knows = v.model.find("actions") != std::string::npos;
    for (std::size_t i = 5; i < 8; ++i) EXPECT_EQ(before[i] != after[i], knows) << v.name;
    all.action[4] = -1;  // unknown has a vector of its own
    const std::vector<float> unknown = pair.head->score_each(*pair.model, all);
    EXPECT_EQ(unknown[6] != after[6] && unknown[6] != before[6], knows) << v.name;
  }
}

TEST(Click, RankAgreesWithScoreAndObeysFilters) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(40, 3, 5), v.model, kAll);
    const Histories histories = with_actions(histories_of_lengths({4, 0, 7}, 40));
    RankRequest request;
    request.k = 40;
    request.excluded_offset = {0, 2, 2, 3};
    request.excluded = {5, 6, 0};
    request.allowed.assign(40, 1);
    request.allowed[11] = 0;
    const Ranking ranking = pair.head->rank(*pair.model, histories, request);
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

TEST(Click, TiesGoToTheSmallerItem) {
  ItemTokens tokens = random_tokens(6, 2, 4);
  for (std::size_t i = 2; i < tokens.codes.size(); ++i) tokens.codes[i] = tokens.codes[i % 2];
  Pair pair(plugins(), tokens, kModels[0].model, kHead);
  RankRequest request;
  request.k = 6;
  EXPECT_EQ(pair.head->rank(*pair.model, histories_of_lengths({3}, 6), request).item,
            (std::vector<std::int32_t>{0, 1, 2, 3, 4, 5}));
}

// Whether an item is liked depends on whether the item before it was: only models that know actions can tell.
TEST(Click, LearnsFromPastActions) {
  Histories all = histories_of_lengths({8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8}, 12);
  Random random(5, 6);
  for (std::size_t i = 0; i < all.item.size(); ++i)
    all.action.push_back(i % 8 == 0 ? static_cast<std::int8_t>(random.below(2))
                                    : static_cast<std::int8_t>((all.action[i - 1] + (all.item[i] < 6 ? 1 : 0)) % 2));
  std::vector<float> label;
  for (const auto action : all.action) label.push_back(static_cast<float>(action));
  for (const Variant& v : kModels) {
    if (v.model.find("actions") == std::string::npos) continue;
    Pair pair(plugins(), random_tokens(12, 1, 12), v.model, kHead);
    pair.train(batch_of(all, pair.form()), 250, 0.01);
    EXPECT_GT(auc(pair.head->score_each(*pair.model, all), label), 0.9) << v.name;
  }
}

TEST(Click, TheSameBitsForAnyNumberOfThreads) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(200, 3, 8), v.model + "dropout = 0.2", kAll + "dropout = 0.2");
    const Histories all = with_actions(histories_of_lengths({9, 3, 5, 8, 2, 9, 9, 4}, 200));
    const TrainBatch batch = batch_of(all, pair.form());
    const auto parameters = pair.parameters();
    for (const std::size_t p : {std::size_t{0}, parameters.size() / 2, parameters.size() - 1})
      EXPECT_TRUE(same_bits([&] {
        const TrainingScope scope(3, 4);
        Tape tape;
        tape.backward(pair.head->loss(*pair.model, batch));
        const Tensor gradient = parameters[p].second->gradient.clone();
        for (auto& [name, parameter] : parameters) parameter->gradient = Tensor();
        return gradient;
      })) << v.name;
    EXPECT_TRUE(same_bits([&] {
      const auto scores = pair.head->score_each(*pair.model, all);
      return Tensor::from(scores, {static_cast<std::int64_t>(scores.size())});
    })) << v.name;
  }
}

TEST(ClickGrad, WholeModelInDoublePrecision) {
  for (const Variant& v : kModels) {
    Pair pair(plugins(), random_tokens(12, 3, 3), v.model, kAll + "dropout = 0.1\nactivation = \"silu\"");
    const auto parameters = pair.parameters();
    for (auto& [name, parameter] : parameters) parameter->value = parameter->value.to(DType::f64);
    TrainBatch batch = batch_of(with_actions(histories_of_lengths({4, 2, 5}, 12)), pair.form());
    batch.target[1] = -1;  // read before, no target now
    const auto loss = [&] {
      const TrainingScope scope(3, 4);
      return pair.head->loss(*pair.model, batch);
    };
    {
      Tape tape;
      tape.backward(loss());
    }
    std::uint64_t stream = 0;
    for (const auto& entry : parameters) {
      const std::string& name = entry.first;
      Parameter* const parameter = entry.second;
      ASSERT_TRUE(parameter->gradient) << v.name << ": " << name << " has no gradient";
      Tensor direction(parameter->value.shape(), DType::f64);
      fill_normal(direction, 0.0, 1.0, 5, ++stream);
      const Tensor kept = parameter->value.clone();
      double analytic = 0.0;
      for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
        analytic += direction.values<double>()[i] * parameter->gradient.values<double>()[i];
      const auto moved = [&](double step) {
        for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
          parameter->value.values<double>()[i] = kept.values<double>()[i] + step * direction.values<double>()[i];
        return loss().item();
      };
      const double numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
      parameter->value.copy_from(kept);
      EXPECT_NEAR(analytic, numeric, 2e-6 * std::max(1.0, std::abs(numeric))) << v.name << ": " << name;
    }
  }
}

TEST(Click, ModelsThatCannotScoreItemsAreNamed) {
  const auto built = [](const std::string& model) {
    return message_of([&] { Pair(plugins(), random_tokens(12, 3, 3), model, kHead); });
  };
  EXPECT_NE(built(kFlat + "item_input = \"tokens\"\ncausal = false")
                .find("head 'click' scores candidates by extend(), which this bidirectional model does not offer"),
            std::string::npos)
      << built(kFlat + "item_input = \"tokens\"\ncausal = false");
  EXPECT_NE(built(kFlat).find("reads item vectors, but the head has no item tower"), std::string::npos) << built(kFlat);
  ModelSpec graph;
  graph.reads_histories = false;
  const auto head = plugins().create<Head>(Section::parse("head", kHead));
  EXPECT_NE(message_of([&] { head->spec(graph); }).find("the model reads the graph alone"), std::string::npos);
  ModelSpec sees_both;
  sees_both.extends = true;
  EXPECT_NE(message_of([&] { head->spec(sees_both); }).find("the states of this model see what comes after"),
            std::string::npos);
}

TEST(Click, UnknownActionsAreNamed) {
  Pair pair(plugins(), random_tokens(12, 3, 3), kModels[1].model, kHead);
  Histories all = with_actions(histories_of_lengths({3}, 12));
  all.action[1] = 2;
  EXPECT_NE(message_of([&] { pair.model->encode(all); }).find("holds the action 2, but actions = 2 knows 0 .. 1"),
            std::string::npos);
}

TEST(ItemRates, CountWhatWasBeforeTheMoment) {
  Dataset data;
  data.items.ids = {"a", "b"};
  data.user_ids = {"u"};
  data.interactions.offset = {0, 5};
  data.interactions.item = {0, 0, 0, 1, 0};
  data.interactions.time = {10, 20, 20, 30, 40};
  data.interactions.label = {1, 0, 1, 0, 1};
  data.interactions.part = {Part::train, Part::train, Part::train, Part::train, Part::test};
  const ItemRates rates(data, 2.0);
  const double mean = 3.0 / 6.0;  // (2 clicks + 1) of (4 + 2)
  const auto expected = [&](double clicks, double shown) {
    const double rate = (clicks + 2.0 * mean) / (shown + 2.0);
    return std::log(rate / (1 - rate)) - std::log(mean / (1 - mean));
  };
  const std::vector<std::int32_t> item{0, 0, 0, 0, 1, 1};
  const std::vector<std::int64_t> time{10, 20, 21, ItemRates::kNow, 30, 31};
  const std::pair<double, double> count[] = {{0, 0}, {1, 1}, {2, 3}, {2, 3}, {0, 0}, {0, 1}};
  const Tensor x = rates.log_odds(item, time, DType::f32);
  for (std::size_t i = 0; i < 6; ++i)
    EXPECT_NEAR(x.values<float>()[i], expected(count[i].first, count[i].second), 1e-6) << i;
  EXPECT_NEAR(rates.log_odds(item, {}, DType::f32).values<float>()[0], expected(2, 3), 1e-6);
  data.interactions.time.clear();
  EXPECT_NE(message_of([&] { ItemRates(data, 2.0); }).find("has no times, but item_rate"), std::string::npos);
}

}  // namespace tessera
