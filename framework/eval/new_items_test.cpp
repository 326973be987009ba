#include "framework/eval/new_items.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tessera {
namespace {

using Ids = std::vector<std::int32_t>;

// Item i has i training interactions, of one user: popularity puts the largest numbers first, a number being its score.
Dataset rising(std::int32_t items) {
  Dataset data;
  data.user_ids = {"u"};
  for (std::int32_t item = 0; item < items; ++item) {
    data.items.ids.push_back(std::to_string(item));
    data.interactions.item.insert(data.interactions.item.end(), static_cast<std::size_t>(item), item);
  }
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
  data.interactions.offset.push_back(data.interactions.size());
  return data;
}

Ranking lists(const ItemMask& fresh, double share, RankRequest request, std::int64_t rows = 1) {
  const Histories histories = histories_of(std::vector<Ids>(static_cast<std::size_t>(rows)));
  return with_new_items(popularity_ranker(rising(6)), fresh, share)(histories, request);
}

RankRequest first(int k) {
  RankRequest request;
  request.k = k;
  return request;
}

const ItemMask kLowestTwo{1, 1, 0, 0, 0, 0};

}  // namespace

TEST(NewItems, TakeTheirPlacesFromTheTopDown) {
  const Ranking ranking = lists(kLowestTwo, 0.5, first(4), 2);
  EXPECT_EQ(ranking.item, (Ids{5, 1, 4, 0, 5, 1, 4, 0}));
  EXPECT_EQ(ranking.score, (std::vector<float>{5, 1, 4, 0, 5, 1, 4, 0}));
  EXPECT_EQ(lists(kLowestTwo, 0.34, first(4)).item, (Ids{5, 4, 1, 3}));
  EXPECT_EQ(lists(kLowestTwo, 1.0, first(3)).item, (Ids{1, 0, 5}));        // two are all there are
  EXPECT_EQ(lists(kLowestTwo, 0.1, first(5)).item, (Ids{5, 4, 3, 2, 1}));  // not a whole place
}

TEST(NewItems, ThoseThatStandThereAlreadyCount) {
  EXPECT_EQ(lists({0, 0, 0, 0, 1, 1}, 0.5, first(4)).item, (Ids{5, 4, 3, 2}));
  EXPECT_EQ(lists({1, 0, 0, 1, 0, 0}, 0.5, first(4)).item, (Ids{5, 3, 4, 0}));
  EXPECT_EQ(lists(kLowestTwo, 0.5, first(6)).item, (Ids{5, 1, 4, 0, 3, 2}));  // each item once
}

TEST(NewItems, KeepToTheRequest) {
  RankRequest request = first(4);
  request.excluded_offset = {0, 1};
  request.excluded = {1};
  EXPECT_EQ(lists(kLowestTwo, 0.5, request).item, (Ids{5, 0, 4, 3}));
  request.allowed = {0, 1, 1, 1, 1, 0};  // the only new item that is allowed is excluded
  EXPECT_EQ(lists(kLowestTwo, 0.5, request).item, (Ids{4, 3, 2, -1}));
  request.allowed = {0, 0, 1, 1, 1, 0};
  EXPECT_EQ(lists(kLowestTwo, 0.5, request).item, (Ids{4, 3, 2, -1}));
  EXPECT_THROW(with_new_items(popularity_ranker(rising(6)), kLowestTwo, 1.5), Error);
}

TEST(NewItems, AreCountedInTrainingAlone) {
  Dataset data;
  data.items.ids = {"a", "b", "c"};
  data.user_ids = {"u"};
  data.interactions.item = {0, 1, 1};
  data.interactions.part = {Part::train, Part::valid, Part::test};
  data.interactions.offset.push_back(3);
  data.split_given = true;
  EXPECT_EQ(new_items(data), (ItemMask{0, 1, 1}));

  EvaluateOptions options;
  options.cutoffs = {2};
  options.seen = "include";
  const Ranker known_first = popularity_ranker(data);
  data.interactions.item[2] = 2;
  EXPECT_DOUBLE_EQ(evaluate(known_first, data, Part::test, options, 0).mean.at("Recall@2"), 0.0);
  options.new_share = 1.0;
  const Evaluation shared = evaluate(known_first, data, Part::test, options, 0);
  EXPECT_DOUBLE_EQ(shared.mean.at("Recall@2"), 1.0);
  EXPECT_NE(shared.protocol.find("a share of 1 of the places"), std::string::npos) << shared.protocol;
}

}  // namespace tessera
