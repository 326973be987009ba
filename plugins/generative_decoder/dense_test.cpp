#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "plugins/generative_decoder/forms_testing.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::histories_of_lengths;
using testing::Pair;
using testing::random_tokens;

constexpr std::int64_t kItems = 60, kUsers = 4, kWidth = 5;
const std::string kCross = kHead + "form = \"cross\"\nlayers = 1\n";

ItemTokens tokens_with_vectors() {
  ItemTokens tokens = random_tokens(kItems, 3, 6);
  tokens.item_vectors = Tensor({kItems, kWidth});
  fill_normal(tokens.item_vectors, 0.0, 1.0, 1, 1);
  tokens.user_vectors = Tensor({kUsers, kWidth});
  fill_normal(tokens.user_vectors, 0.0, 1.0, 1, 2);
  return tokens;
}

double product(const ItemTokens& tokens, std::int64_t user, std::int64_t item) {
  const float* u = tokens.user_vectors.data<float>() + user * kWidth;
  return std::inner_product(u, u + kWidth, tokens.item_vectors.data<float>() + item * kWidth, 0.0);
}

// Every item for every row.
std::vector<float> scores_of_all(Pair& pair, const Histories& histories) {
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> items(static_cast<std::size_t>(histories.rows() * kItems));
  for (std::size_t i = 0; i < items.size(); ++i) items[i] = static_cast<std::int32_t>(i % kItems);
  for (std::int64_t b = 0; b < histories.rows(); ++b) offset.push_back((b + 1) * kItems);
  return pair.head->score(*pair.model, histories, offset, items);
}

Ranking rank(Pair& pair, const Histories& histories, int k) {
  RankRequest request;
  request.k = k;
  return pair.head->rank(*pair.model, histories, request);
}

}  // namespace

TEST(DenseScores, AddWhatTheTokenizerKnowsOfUserAndItem) {
  const ItemTokens tokens = tokens_with_vectors();
  Pair plain(plugins(), tokens, kModel, kCross), dense(plugins(), tokens, kModel, kCross + "dense = 0.5");
  Histories histories = histories_of_lengths({5, 2, 0}, kItems);
  histories.user = {3, -1, 1};  // the second is a stranger
  const std::vector<float> without = scores_of_all(plain, histories), with = scores_of_all(dense, histories);
  for (std::size_t row = 0; row < 3; ++row)
    for (std::size_t item = 0; item < kItems; ++item) {
      const std::int32_t user = histories.user[row];
      const double more = user < 0 ? 0.0 : 0.5 * product(tokens, user, static_cast<std::int64_t>(item));
      ASSERT_NEAR(with[row * kItems + item] - without[row * kItems + item], more, 1e-5) << row << ", item " << item;
    }
}

TEST(DenseScores, RankAllItemsWhereAllAreGenerated) {
  for (const std::string search : {"search = \"exact\"", "beam = 60"}) {
    Pair pair(plugins(), tokens_with_vectors(), kModel, kCross + "dense = 2.0\n" + search);
    const Histories histories = histories_of_lengths({5, 2, 0}, kItems);
    const std::vector<float> score = scores_of_all(pair, histories);
    const Ranking ranking = rank(pair, histories, 7);
    ASSERT_EQ(ranking.k, 7);
    for (std::size_t row = 0; row < 3; ++row) {
      std::vector<std::int32_t> expected(kItems);
      std::iota(expected.begin(), expected.end(), 0);
      std::stable_sort(expected.begin(), expected.end(), [&](std::int32_t a, std::int32_t b) {
        return score[row * kItems + static_cast<std::size_t>(a)] > score[row * kItems + static_cast<std::size_t>(b)];
      });
      for (std::size_t place = 0; place < 7; ++place) {
        EXPECT_EQ(ranking.item[row * 7 + place], expected[place]) << search;
        EXPECT_EQ(ranking.score[row * 7 + place], score[row * kItems + static_cast<std::size_t>(expected[place])]);
      }
    }
  }
}

TEST(DenseScores, OrderOnlyWhatTheBeamHasFound) {
  const ItemTokens tokens = tokens_with_vectors();
  Pair plain(plugins(), tokens, kModel, kCross + "beam = 10"),
      dense(plugins(), tokens, kModel, kCross + "beam = 10\ndense = 100.0");
  const Histories histories = histories_of_lengths({5}, kItems);
  const Ranking found = rank(plain, histories, 10), ordered = rank(dense, histories, 4);
  const std::set<std::int32_t> candidates(found.item.begin(), found.item.end());
  for (std::size_t place = 0; place < 4; ++place) EXPECT_TRUE(candidates.contains(ordered.item[place])) << place;
  const std::int32_t best =
      *std::max_element(found.item.begin(), found.item.end(),
                        [&](std::int32_t a, std::int32_t b) { return product(tokens, 0, a) < product(tokens, 0, b); });
  EXPECT_EQ(ordered.item[0], best);
  EXPECT_NE(found.item[0], best);  // else the test says nothing
}

TEST(DenseScores, LeaveEmptyPlacesEmpty) {
  Pair pair(plugins(), tokens_with_vectors(), kModel, kCross + "dense = 1.0");
  RankRequest request;
  request.k = 3;
  request.allowed.assign(kItems, 0);
  request.allowed[4] = 1;
  const Ranking ranking = pair.head->rank(*pair.model, histories_of_lengths({5}, kItems), request);
  EXPECT_EQ(ranking.item, (std::vector<std::int32_t>{4, -1, -1}));
  EXPECT_EQ(ranking.score[1], -std::numeric_limits<float>::infinity());
}

TEST(DenseScores, SayWhatTheyNeed) {
  const auto built = [](ItemTokens tokens, const std::string& options) {
    return message_of([&] { Pair(plugins(), std::move(tokens), kModel, kCross + options); });
  };
  EXPECT_NE(built(random_tokens(12, 3, 12), "dense = 1.0").find("which this tokenizer has not learnt"),
            std::string::npos);
  EXPECT_NE(built(tokens_with_vectors(), "dense = 1.0\nsearch = \"free\"").find("identifiers that belong to none"),
            std::string::npos);
}

}  // namespace tessera
