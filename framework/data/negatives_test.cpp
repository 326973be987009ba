#include <gtest/gtest.h>

#include <map>
#include <string>

#include "framework/data/batches.h"

namespace tessera {

TEST(Batches, NegativesAreTrainedItemsThatTheUserHasNot) {
  // User u has items u, u + 1, .. u + 3 of 12 in training, the last user all of 0 .. 8; items 10 and 11 are held out
  // alone.
  Dataset data;
  data.name = "negatives";
  for (int i = 0; i < 12; ++i) data.items.ids.push_back("i" + std::to_string(i));
  for (int u = 0; u < 7; ++u) {
    data.user_ids.push_back("u" + std::to_string(u));
    for (int j = 0; j < (u == 6 ? 9 : 4); ++j) {
      data.interactions.item.push_back(u == 6 ? j : u + j);
      data.interactions.part.push_back(Part::train);
    }
    data.interactions.item.push_back(10 + u % 2);
    data.interactions.part.push_back(Part::test);
    data.interactions.offset.push_back(data.interactions.size());
  }
  BatchOptions options;
  options.form = BatchForm::one_target;
  options.subsequences = options.empty_histories = true;
  options.with_histories = false;
  options.batch_size = 5;
  options.negatives = 3;
  const Batches batches(data, options, 1), again(data, options, 1);
  EXPECT_EQ(batches.targets_per_epoch(), 6 * 4 + 9);
  std::map<std::int32_t, int> drawn;
  for (std::int64_t epoch = 0; epoch < 40; ++epoch)
    for (std::int64_t index = 0; index < batches.per_epoch(); ++index) {
      const TrainBatch batch = batches.batch(epoch, index);
      EXPECT_EQ(batch.negative, again.batch(epoch, index).negative);
      ASSERT_EQ(batch.negative.size(), 3 * batch.target.size());
      EXPECT_EQ(batch.histories.size(), 0);
      EXPECT_EQ(batch.histories.rows(), static_cast<std::int64_t>(batch.target.size()));
      for (std::size_t i = 0; i < batch.negative.size(); ++i) {
        const std::int32_t user = batch.histories.user[i / 3], item = batch.negative[i];
        EXPECT_LT(item, 9);
        if (user < 6) {
          EXPECT_TRUE(item < user || item > user + 3) << user << " has " << item;
        }
        if (user == 0) ++drawn[item];
      }
    }
  ASSERT_EQ(drawn.size(), 5u);  // 4 .. 8, 480 draws
  for (const auto& [item, count] : drawn) EXPECT_NEAR(count, 96, 40) << item;
  EXPECT_NE(batches.batch(0, 0).negative, batches.batch(1, 0).negative);
  options.form = BatchForm::every_position;
  EXPECT_THROW(Batches(data, options, 1), Error);  // positions need their histories
}

TEST(Batches, PositionsWithoutTargetGetNoNegatives) {
  Dataset data;
  data.name = "positions";
  for (int i = 0; i < 30; ++i) data.items.ids.push_back("i" + std::to_string(i));
  for (int u = 0; u < 9; ++u) {
    data.user_ids.push_back("u" + std::to_string(u));
    for (int j = 0; j < 3 + u; ++j) data.interactions.item.push_back(2 * u + j);
    data.interactions.offset.push_back(data.interactions.size());
  }
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
  BatchOptions options;
  options.form = BatchForm::every_position_last_included;
  options.negatives = 2;
  options.batch_size = 8;
  const TrainBatch batch = Batches(data, options, 1).batch(0, 0);
  ASSERT_EQ(batch.negative.size(), 2 * batch.target.size());
  for (std::size_t i = 0; i < batch.negative.size(); ++i) EXPECT_EQ(batch.negative[i] == -1, batch.target[i / 2] == -1);
}

}  // namespace tessera
