#include <gtest/gtest.h>

#include <cmath>

#include "framework/data/split.h"
#include "framework/eval/click_baselines.h"
#include "framework/eval/evaluator.h"
#include "framework/eval/metrics.h"
#include "framework/eval/significance.h"
#include "framework/roles/frozen_weights.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

// Users with 12 interactions; labels follow a taste of the user and the item.
Dataset clicks(std::int64_t users = 40, std::int64_t items = 15) {
  Dataset data;
  data.name = "clicks";
  Random random(3, 4);
  for (std::int64_t i = 0; i < items; ++i) data.items.ids.push_back(str("i", i));
  for (std::int64_t u = 0; u < users; ++u) {
    data.user_ids.push_back(str("u", u));
    for (std::int64_t j = 0; j < 12; ++j) {
      const auto item = static_cast<std::int32_t>(random.below(items));
      data.interactions.item.push_back(item);
      data.interactions.time.push_back(100 * j + u);
      const double liking = 0.3 * static_cast<double>(item % 5) - 0.6 + (u % 2 == 0 ? 0.7 : -0.7);
      data.interactions.label.push_back(random.uniform() < 1 / (1 + std::exp(-liking)) ? 1 : 0);
    }
    data.interactions.offset.push_back(data.interactions.size());
  }
  split(data, {.method = "time", .valid = 0.1, .test = 0.25}, 1);
  return data;
}

// Scores an item by what is known before it: how many items, and of how many clicks.
class Counter final : public Model {
 public:
  explicit Counter(bool causal) : causal_(causal) {}
  ModelSpec spec() const override {
    ModelSpec spec;
    spec.width = 1;
    spec.causal = causal_;
    spec.max_items = 5;
    return spec;
  }
  void build(const BuildContext&, ItemVectorSource*) override {}

 private:
  bool causal_;
};

class CountingHead final : public Head {
 public:
  HeadSpec spec(const ModelSpec&) const override { return {.needs_labels = true}; }
  void build(const BuildContext&, const ModelSpec&) override {}
  Tensor loss(Model&, const TrainBatch&) override { return {}; }
  Ranking rank(Model&, const Histories& histories, const RankRequest& request) override {
    ++rankings;
    Ranking out;
    out.k = request.k;
    out.item.assign(static_cast<std::size_t>(histories.rows() * request.k), 0);
    out.score.assign(out.item.size(), 0.0f);
    return out;
  }
  std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                           std::span<const std::int32_t> items) override {
    std::vector<float> out(items.size());
    for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
      const std::int64_t end = histories.offset[b + 1],
                         begin = std::max(histories.offset[b], end - model.spec().max_items);
      float sum = 0;
      for (std::int64_t i = begin; i < end; ++i)
        sum += 10.0f + static_cast<float>(histories.action[static_cast<std::size_t>(i)]);
      for (std::int64_t c = offset[b]; c < offset[b + 1]; ++c) out[static_cast<std::size_t>(c)] = sum;
    }
    return out;
  }
  int rankings = 0;
};

}  // namespace

TEST(FrozenWeights, ScopesHaveNumbersAndNest) {
  EXPECT_EQ(FrozenWeights::current(), 0u);
  std::uint64_t first = 0;
  {
    const FrozenWeights outer;
    first = FrozenWeights::current();
    EXPECT_NE(first, 0u);
    const FrozenWeights inner;
    EXPECT_EQ(FrozenWeights::current(), first);
  }
  EXPECT_EQ(FrozenWeights::current(), 0u);
  const FrozenWeights again;
  EXPECT_NE(FrozenWeights::current(), first);
}

TEST(Metrics, ByHand) {
  Ranking ranking;
  ranking.k = 3;
  ranking.item = {4, 2, 7, /* row 1 */ 1, 0, -1};
  ranking.score = {3, 2, 1, 3, 2, 0};
  const std::vector<std::int64_t> offset{0, 2, 3};
  const std::vector<std::int32_t> target{2, 9, 5};
  const auto m = ranking_metrics(ranking, offset, target, {1, 3}, 10);
  EXPECT_DOUBLE_EQ(m.per_user.at("Recall@3")[0], 0.5);
  EXPECT_DOUBLE_EQ(m.per_user.at("HR@1")[0], 0.0);
  EXPECT_DOUBLE_EQ(m.per_user.at("MRR@3")[0], 0.5);
  const double gain = 1 / std::log2(3.0), ideal = 1 + 1 / std::log2(3.0);
  EXPECT_DOUBLE_EQ(m.per_user.at("NDCG@3")[0], gain / ideal);
  EXPECT_DOUBLE_EQ(m.mean.at("Recall@3"), 0.25);
  EXPECT_DOUBLE_EQ(m.mean.at("Coverage@3"), 0.5);  // 4, 2, 7, 1, 0 of 10
}

TEST(Metrics, AucCountsTiesHalf) {
  EXPECT_DOUBLE_EQ(auc(std::vector<float>{1, 2, 3, 4}, std::vector<float>{0, 0, 1, 1}), 1.0);
  EXPECT_DOUBLE_EQ(auc(std::vector<float>{1, 1, 1, 1}, std::vector<float>{0, 1, 0, 1}), 0.5);
  EXPECT_DOUBLE_EQ(auc(std::vector<float>{3, 1, 2}, std::vector<float>{0, 1, 1}), 0.0);
  EXPECT_TRUE(std::isnan(auc(std::vector<float>{1, 2}, std::vector<float>{1, 1})));
}

TEST(Metrics, GaucWeighsByImpressionsAndSkipsOneClass) {
  // User 0: perfect on 2 samples; user 1: wrong on 4 samples; user 2: one class.
  const std::vector<float> score{1, 2, 4, 3, 2, 1, 5}, label{0, 1, 0, 0, 1, 1, 1};
  EXPECT_DOUBLE_EQ(gauc(score, label, std::vector<std::int64_t>{0, 2, 6, 7}), (1.0 * 2 + 0.0 * 4) / 6);
}

TEST(Significance, KnownTTest) {
  // differences 1, 2, 3, 4: mean 2.5, deviation 1.29099, t = 3.87298, 3 degrees of freedom: p = 0.0304660
  const std::vector<double> a{0, 0, 0, 0}, b{1, 2, 3, 4};
  const auto test = paired_test(a, b);
  EXPECT_NEAR(test.p_value, 0.030466, 1e-6);
  EXPECT_DOUBLE_EQ(test.difference, 2.5);
  EXPECT_LT(test.low, 2.5);
  EXPECT_GT(test.high, 2.5);
}

TEST(Significance, EqualSystemsDoNotDiffer) {
  const std::vector<double> a{0.1, 0.5, 0.3};
  EXPECT_EQ(paired_test(a, a).p_value, 1.0);
  EXPECT_THROW(paired_test(a, std::vector<double>{1, 2}), Error);
}

TEST(Clicks, LogLossAndCalibrationByHand) {
  // Logits 0 and log 3: probabilities 1/2 and 3/4.
  const float third = static_cast<float>(std::log(3.0));
  const std::vector<float> score{0, 0, third, third}, label{0, 1, 1, 0};
  EXPECT_NEAR(log_loss(score, label), (2 * std::log(2.0) - std::log(0.75) - std::log(0.25)) / 4, 1e-7);
  const auto bins = reliability(score, label, 10);
  ASSERT_EQ(bins.size(), 10u);
  EXPECT_EQ(bins[5].count, 2);
  EXPECT_EQ(bins[7].count, 2);
  EXPECT_NEAR(bins[7].predicted, 0.75, 1e-7);
  EXPECT_DOUBLE_EQ(bins[7].clicked, 0.5);
  EXPECT_TRUE(std::isnan(bins[0].predicted));
  EXPECT_NEAR(calibration_error(bins), 0.5 * 0.0 + 0.5 * 0.25, 1e-7);
  EXPECT_EQ(reliability(std::vector<float>{100}, std::vector<float>{1}, 10)[9].count, 1);  // a probability of 1
  EXPECT_THROW(log_loss(std::vector<float>{std::nanf("")}, std::vector<float>{1}), Error);
}

TEST(Clicks, MeansOverUsersAreTheMetrics) {
  Impressions some;
  some.user = {0, 1, 2};
  some.offset = {0, 2, 6, 7};
  some.item.assign(7, 0);
  some.score = {1, 2, 4, 3, 2, 1, 5};
  some.label = {0, 1, 0, 0, 1, 1, 1};
  const ClickUsers users = click_users(some);
  EXPECT_DOUBLE_EQ(mean_known(users.gauc), gauc(some.score, some.label, some.offset));
  EXPECT_NEAR(mean_known(users.log_loss), log_loss(some.score, some.label), 1e-12);
  EXPECT_DOUBLE_EQ(mean_known(users.uauc), 0.5);
  EXPECT_TRUE(std::isnan(users.gauc[2]));
  const ClickUsers first = click_users(some, std::vector<std::uint8_t>{1, 1, 0, 0, 0, 0, 0});
  EXPECT_DOUBLE_EQ(mean_known(first.gauc), 1.0);
  EXPECT_TRUE(std::isnan(first.log_loss[1]));
}

TEST(Clicks, RollingHistoriesHoldEverythingBefore) {
  const Dataset data = clicks();
  const Interactions& all = data.interactions;
  CountingHead head;
  for (const bool causal : {true, false}) {
    Counter model(causal);
    EvaluateOptions options;
    options.batch_size = 7;
    const Evaluation rolling = evaluate(model, head, data, Part::test, options, 5);
    EXPECT_EQ(head.rankings, 0);
    EXPECT_FALSE(rolling.mean.contains("NDCG@10"));
    const Impressions& seen = rolling.impressions;
    ASSERT_EQ(seen.score.size(), 120u);
    std::size_t at = 0;
    for (std::size_t row = 0; row < seen.user.size(); ++row)
      for (std::int64_t i = all.begin(seen.user[row]); i < all.end(seen.user[row]); ++i) {
        if (all.part[static_cast<std::size_t>(i)] != Part::test) continue;
        float expected = 0;
        for (std::int64_t k = std::max(all.begin(seen.user[row]), i - 5); k < i; ++k)
          expected += 10.0f + static_cast<float>(all.label[static_cast<std::size_t>(k)]);
        EXPECT_EQ(seen.item[at], all.item[static_cast<std::size_t>(i)]);
        EXPECT_EQ(seen.label[at], static_cast<float>(all.label[static_cast<std::size_t>(i)]));
        EXPECT_EQ(seen.score[at++], expected);
      }
    EXPECT_NE(rolling.protocol.find("rolling histories"), std::string::npos);
    EXPECT_DOUBLE_EQ(rolling.mean.at("AUC"), auc(seen.score, seen.label));
    EXPECT_DOUBLE_EQ(rolling.mean.at("GAUC"), gauc(seen.score, seen.label, seen.offset));
    EXPECT_EQ(rolling.mean.at("cold_user/impressions") + 0.0, 120.0);  // nobody has 10 training interactions
    EXPECT_EQ(rolling.reliability.size(), 10u);
    options.click_history = "part";
    options.cold_user = 0;
    const Evaluation part = evaluate(model, head, data, Part::test, options, 5);
    EXPECT_FALSE(part.mean.contains("cold_user/AUC"));
    for (std::size_t row = 0; row < seen.user.size(); ++row)  // one history for all of the part
      for (auto i = static_cast<std::size_t>(seen.offset[row]); i < static_cast<std::size_t>(seen.offset[row + 1]); ++i)
        EXPECT_EQ(part.impressions.score[i], part.impressions.score[static_cast<std::size_t>(seen.offset[row])]);
  }
  Counter model(true);
  EvaluateOptions options;
  options.ranking = "yes";
  EXPECT_TRUE(evaluate(model, head, data, Part::test, options, 5).mean.contains("NDCG@10"));
  EXPECT_GT(head.rankings, 0);
}

TEST(Clicks, SanityLinesFindTheTruth) {
  const Dataset data = clicks(400, 15);
  const LogisticIds model = fit_logistic_ids(data, 1.0);
  // The gradient is zero: what is predicted equals what happened, less the pull of the penalty.
  std::vector<double> users(400), items(15);
  double all = 0;
  for (std::int64_t u = 0; u < 400; ++u)
    for (std::int64_t i = data.interactions.begin(u); i < data.interactions.end(u); ++i) {
      const auto k = static_cast<std::size_t>(i);
      if (data.interactions.part[k] != Part::train) continue;
      const auto item = static_cast<std::size_t>(data.interactions.item[k]);
      const double error =
          1 / (1 + std::exp(-model.intercept - model.user[static_cast<std::size_t>(u)] - model.item[item])) -
          data.interactions.label[k];
      users[static_cast<std::size_t>(u)] += error;
      items[item] += error;
      all += error;
    }
  for (std::size_t u = 0; u < users.size(); ++u) EXPECT_NEAR(users[u], -model.user[u], 1e-4);
  for (std::size_t i = 0; i < items.size(); ++i) EXPECT_NEAR(items[i], -model.item[i], 1e-4);
  EXPECT_NEAR(all, 0.0, 1e-3);
  const Impressions asked = impressions_of(data, Part::test);
  const auto lines = sanity_lines(data, asked);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_GT(auc(lines[0].score, asked.label), 0.55);
  EXPECT_GT(auc(lines[1].score, asked.label), auc(lines[0].score, asked.label) + 0.05);
  // The smoothed share of an item, by hand.
  double sum = 0, count = 0, mean = 0, total = 0;
  for (std::size_t k = 0; k < data.interactions.item.size(); ++k) {
    if (data.interactions.part[k] != Part::train) continue;
    mean += data.interactions.label[k];
    ++total;
    if (data.interactions.item[k] != asked.item[0]) continue;
    sum += data.interactions.label[k];
    ++count;
  }
  const double share = (sum + 10 * mean / total) / (count + 10);
  EXPECT_NEAR(lines[0].score[0], std::log(share / (1 - share)), 1e-5);
}

TEST(Significance, AucTestEqualsTheFormulaOfDeLong) {
  // One impression a user: variance = var(V10) / m + var(V01) / n of the difference, with the definitions by pairs.
  Random random(7, 8);
  std::vector<float> label, a, b;
  std::vector<std::int64_t> offset{0};
  for (int i = 0; i < 60; ++i) {
    label.push_back(random.uniform() < 0.4 ? 1.0f : 0.0f);
    a.push_back(static_cast<float>(std::round(4 * (random.normal() + label.back())) / 4));
    b.push_back(static_cast<float>(random.normal() + 0.5 * label.back()));
    offset.push_back(i + 1);
  }
  const auto share = [&](const std::vector<float>& x, std::size_t i) {
    double sum = 0, count = 0;
    for (std::size_t j = 0; j < label.size(); ++j) {
      if (label[j] == label[i]) continue;
      const double above = label[i] > 0.5f ? x[i] - x[j] : x[j] - x[i];
      sum += above > 0 ? 1.0 : above == 0 ? 0.5 : 0.0;
      ++count;
    }
    return sum / count;
  };
  const auto first = auc_contributions(a, label), second = auc_contributions(b, label);
  double m = 0, n = 0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    EXPECT_NEAR(first[i], share(a, i), 1e-12);
    ++(label[i] > 0.5f ? m : n);
  }
  const double difference = auc(b, label) - auc(a, label);
  double positive = 0, negative = 0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    const double d = share(b, i) - share(a, i) - difference;
    (label[i] > 0.5f ? positive : negative) += d * d;
  }
  const double deviation = std::sqrt(positive / (m - 1) / m + negative / (n - 1) / n);
  const PairedTest test = auc_test(first, second, label, offset);
  EXPECT_NEAR(test.difference, difference, 1e-12);
  EXPECT_NEAR(test.mean_a, auc(a, label), 1e-12);
  EXPECT_NEAR(test.high - test.difference, 1.959964 * deviation, 1e-6);
  EXPECT_NEAR(test.p_value, std::erfc(std::abs(difference) / deviation / std::sqrt(2.0)), 1e-9);
  EXPECT_EQ(auc_test(first, first, label, offset).p_value, 1.0);
  // Every impression twice in one user's hands: nothing new is known, the interval stays about as wide.
  std::vector<double> twice_a, twice_b;
  std::vector<float> twice;
  std::vector<std::int64_t> pairs{0};
  for (std::size_t i = 0; i < label.size(); ++i) {
    twice_a.insert(twice_a.end(), 2, first[i]);
    twice_b.insert(twice_b.end(), 2, second[i]);
    twice.insert(twice.end(), 2, label[i]);
    pairs.push_back(static_cast<std::int64_t>(twice.size()));
  }
  const PairedTest clustered = auc_test(twice_a, twice_b, twice, pairs);
  EXPECT_NEAR(clustered.high - clustered.low, test.high - test.low, 1e-3);
}

}  // namespace tessera
