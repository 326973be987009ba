#include "framework/eval/slices.h"

#include <gtest/gtest.h>

#include <cmath>

#include "framework/data/split.h"

namespace tessera {
namespace {

// Items 0 .. 5. Item i has i training interactions (of users 0 .. i - 1, say); users 0 .. 2 are tested.
Dataset world() {
  Dataset data;
  data.name = "world";
  data.split_given = true;
  for (int i = 0; i < 6; ++i) data.items.ids.push_back(std::to_string(i));
  const std::vector<std::vector<std::int32_t>> train{{1, 2, 3, 4, 5}, {2, 3, 4, 5}, {3, 4, 5}, {4, 5}, {5}};
  const std::vector<std::vector<std::int32_t>> test{{0}, {0, 1}, {2, 1}, {}, {}};
  auto& rows = data.interactions;
  for (std::size_t u = 0; u < train.size(); ++u) {
    data.user_ids.push_back(std::to_string(u));
    for (const auto item : train[u]) rows.item.push_back(item), rows.part.push_back(Part::train);
    if (u == 1) rows.item.push_back(4), rows.part.push_back(Part::valid);
    for (const auto item : test[u]) rows.item.push_back(item), rows.part.push_back(Part::test);
    rows.offset.push_back(rows.size());
  }
  return data;
}

// Lists 0, 1, 2, ... but for what the request forbids.
Ranking in_order(const Histories& histories, const RankRequest& request) {
  Ranking out;
  out.k = request.k;
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    int found = 0;
    for (std::int32_t item = 0; item < 6 && found < request.k; ++item) {
      bool banned = !request.allowed.empty() && request.allowed[static_cast<std::size_t>(item)] == 0;
      if (!request.excluded_offset.empty())
        for (auto i = request.excluded_offset[static_cast<std::size_t>(b)];
             i < request.excluded_offset[static_cast<std::size_t>(b) + 1]; ++i)
          banned = banned || request.excluded[static_cast<std::size_t>(i)] == item;
      if (banned) continue;
      out.item.push_back(item);
      ++found;
    }
    out.item.insert(out.item.end(), static_cast<std::size_t>(request.k - found), -1);
  }
  out.score.assign(out.item.size(), 0.0f);
  return out;
}

}  // namespace

TEST(Slices, AreCutByTrainingInteractions) {
  const auto slices = count_slices(world(), {0, 2, 4});
  ASSERT_EQ(slices.size(), 4u);
  using Holds = std::vector<std::uint8_t>;
  EXPECT_EQ(slices[0].name, "items_0");
  EXPECT_EQ(slices[0].holds, (Holds{1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(slices[1].name, "items_1_2");
  EXPECT_EQ(slices[1].holds, (Holds{0, 1, 1, 0, 0, 0}));
  EXPECT_EQ(slices[2].name, "items_3_4");
  EXPECT_EQ(slices[2].holds, (Holds{0, 0, 0, 1, 1, 0}));
  EXPECT_EQ(slices[3].name, "items_over_4");
  EXPECT_EQ(slices[3].holds, (Holds{0, 0, 0, 0, 0, 1}));
  EXPECT_TRUE(count_slices(world(), {}).empty());
  try {
    count_slices(world(), {0, 5, 5});
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "evaluate.item_counts: 5 stands behind 5; expected bounds that rise, as [0, 5, 10]");
  }
}

TEST(Slices, MeansAreOverUsersWithATarget) {
  const Dataset data = world();
  EvaluateOptions options;
  options.cutoffs = {1, 2};
  options.seen = "include";
  options.item_counts = {0, 5};
  const Evaluation result = evaluate(in_order, data, Part::test, options, 0);
  EXPECT_EQ(result.user, (std::vector<std::int32_t>{0, 1, 2}));
  // Lists are 0, 1. Of items_0, users 0 and 1 have item 0; of items_1_5, user 1 has item 1 and user 2 items 2 and 1.
  EXPECT_DOUBLE_EQ(result.mean.at("items_0/Recall@1"), 1.0);
  EXPECT_TRUE(std::isnan(result.per_user.at("items_0/Recall@1")[2]));
  EXPECT_DOUBLE_EQ(result.mean.at("items_1_5/Recall@1"), 0.0);
  EXPECT_DOUBLE_EQ(result.mean.at("items_1_5/Recall@2"), 0.75);
  EXPECT_DOUBLE_EQ(result.mean.at("items_1_5/NDCG@2"),
                   (1 / std::log2(3.0) + 1 / std::log2(3.0) / (1 + 1 / std::log2(3.0))) / 2);
  EXPECT_FALSE(result.mean.contains("items_over_5/Recall@1"));  // nobody has such a target
  EXPECT_FALSE(result.mean.contains("items_0/HR@1"));
  EXPECT_NE(result.protocol.find("; items_1_5: 3 targets of 2 users; items_over_5: 0 targets of 0 users"),
            std::string::npos)
      << result.protocol;
}

TEST(Slices, ColdItemsAmongAllAndAmongThemselves) {
  Dataset data = world();
  data.cold_items = {0, 0, 1, 0, 0, 1};
  EvaluateOptions options;
  options.cutoffs = {1, 3};
  options.seen = "include";
  const Evaluation result = evaluate(in_order, data, Part::test, options, 0);
  EXPECT_DOUBLE_EQ(result.mean.at("cold/Recall@1"), 0.0);  // item 2 is third of all
  EXPECT_DOUBLE_EQ(result.mean.at("cold/Recall@3"), 1.0);
  EXPECT_DOUBLE_EQ(result.mean.at("cold_alone/Recall@1"), 1.0);  // and first of items 2 and 5
  EXPECT_TRUE(std::isnan(result.per_user.at("cold_alone/Recall@1")[0]));
  options.cold_slices = false;
  EXPECT_FALSE(evaluate(in_order, data, Part::test, options, 0).mean.contains("cold/Recall@1"));
}

TEST(OwnItems, TrainingAloneLeavesValidationItemsIn) {
  const Dataset data = world();
  EvaluateOptions options;
  options.cutoffs = {3};
  options.seen = "exclude";
  std::vector<std::int32_t> items;
  const ListSink keep = [&](const Questions&, const Ranking& ranking, bool) { items = ranking.item; };
  // User 1 has trained on 2, 3, 4, 5 and validates with 4 (again): taken out either way. User 0 keeps item 0 alone.
  evaluate(in_order, data, Part::test, options, 0, keep);
  EXPECT_EQ(items, (std::vector<std::int32_t>{0, -1, -1, 0, 1, -1, 0, 1, 2}));
  Dataset other = data;
  for (std::size_t i = 0; i < other.interactions.item.size(); ++i)  // user 1 validates with item 1, tests with item 0
    if (other.interactions.part[i] == Part::valid) other.interactions.item[i] = 1;
  evaluate(in_order, other, Part::test, options, 0, keep);
  EXPECT_EQ(items, (std::vector<std::int32_t>{0, -1, -1, 0, -1, -1, 0, 1, 2}));
  options.own_items = "training";
  const Evaluation result = evaluate(in_order, other, Part::test, options, 1, keep);  // all of them, whatever is read
  EXPECT_EQ(items, (std::vector<std::int32_t>{0, -1, -1, 0, 1, -1, 0, 1, 2}));
  EXPECT_NE(result.protocol.find("own items are training items alone"), std::string::npos);
}

}  // namespace tessera
