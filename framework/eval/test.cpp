#include <gtest/gtest.h>

#include <cmath>

#include "framework/eval/evaluator.h"
#include "framework/eval/metrics.h"
#include "framework/eval/significance.h"

namespace tessera {

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

}  // namespace tessera
