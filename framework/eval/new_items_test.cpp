#include "framework/eval/new_items.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using Ids = std::vector<std::int32_t>;

// The largest item numbers first, but for what the request forbids; an item's number is its score.
Ranking falling(const Histories& histories, const RankRequest& request) {
  Ranking out;
  out.k = request.k;
  for (std::int64_t b = 0; b < histories.rows(); ++b) {
    int found = 0;
    for (std::int32_t item = 5; item >= 0 && found < request.k; --item) {
      bool banned = !request.allowed.empty() && request.allowed[static_cast<std::size_t>(item)] == 0;
      if (!request.excluded_offset.empty())
        for (auto i = request.excluded_offset[static_cast<std::size_t>(b)];
             i < request.excluded_offset[static_cast<std::size_t>(b) + 1]; ++i)
          banned = banned || request.excluded[static_cast<std::size_t>(i)] == item;
      if (banned) continue;
      out.item.push_back(item);
      out.score.push_back(static_cast<float>(item));
      ++found;
    }
    out.item.insert(out.item.end(), static_cast<std::size_t>(request.k - found), -1);
    out.score.insert(out.score.end(), static_cast<std::size_t>(request.k - found), 0.0f);
  }
  return out;
}

Ranking lists(const ItemMask& fresh, double share, RankRequest request, std::int64_t rows = 1) {
  const Histories histories = histories_of(std::vector<Ids>(static_cast<std::size_t>(rows)));
  return with_new_items(falling, fresh, share)(histories, request);
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
  EXPECT_THROW(with_new_items(falling, kLowestTwo, 1.5), Error);
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
  const Ranker known_first = [](const Histories&, const RankRequest& request) {
    Ranking out;
    out.k = request.k;
    for (std::int32_t item = 0; item < 3; ++item)
      if (static_cast<int>(out.item.size()) < request.k && (request.allowed.empty() || request.allowed[item]))
        out.item.push_back(item);
    out.item.resize(static_cast<std::size_t>(out.k), -1);
    out.score.assign(out.item.size(), 0.0f);
    return out;
  };
  data.interactions.item[2] = 2;
  EXPECT_DOUBLE_EQ(evaluate(known_first, data, Part::test, options, 0).mean.at("Recall@2"), 0.0);
  options.new_share = 1.0;
  const Evaluation shared = evaluate(known_first, data, Part::test, options, 0);
  EXPECT_DOUBLE_EQ(shared.mean.at("Recall@2"), 1.0);
  EXPECT_NE(shared.protocol.find("a share of 1 of the places"), std::string::npos) << shared.protocol;
}

}  // namespace tessera
