// Batches of labelled items.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "framework/data/batches.h"
#include "framework/data/dataset.h"
#include "framework/data/split.h"
#include "framework/data/testing.h"

namespace tessera {
namespace {

using testing::leave_one_out;

std::string message(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST(Batches, WindowsCoverEachItemOnceWithEnoughBeforeIt) {
  for (const std::int64_t limit : {0, 1, 2, 3, 7, 50})
    for (const std::int64_t n : {0, 1, 2, 3, 7, 8, 9, 100, 101}) {
      std::int64_t done = 0;
      for (const Window& window : windows(n, limit)) {
        EXPECT_EQ(window.first, done);
        EXPECT_GT(window.end, window.first);
        EXPECT_TRUE(limit == 0 || window.end - window.begin <= limit);
        EXPECT_GE(window.first - window.begin, std::min(window.first, limit / 2)) << n << " items, limit " << limit;
        done = window.end;
      }
      EXPECT_EQ(done, n);
    }
}

TEST(Batches, EachItemIsATargetOnceWithItsOwnLabel) {
  const Dataset data = leave_one_out();
  std::int64_t train = 0;
  for (const Part part : data.interactions.part) train += part == Part::train;
  const Batches batches(data, {.form = BatchForm::each_item, .batch_size = 9, .max_items = 6, .with_labels = true}, 7);
  EXPECT_EQ(batches.targets_per_epoch(), train);
  std::set<std::int32_t> seen;
  for (std::int64_t b = 0; b < batches.per_epoch(); ++b) {
    const TrainBatch batch = batches.batch(1, b);
    ASSERT_EQ(batch.target.size(), batch.histories.item.size());
    ASSERT_EQ(batch.histories.action.size(), batch.histories.item.size());
    for (std::int64_t r = 0; r < batch.histories.rows(); ++r)
      for (auto i = static_cast<std::size_t>(batch.histories.offset[static_cast<std::size_t>(r)]);
           i < static_cast<std::size_t>(batch.histories.offset[static_cast<std::size_t>(r) + 1]); ++i) {
        EXPECT_EQ(batch.histories.item[i] / 100, batch.histories.user[static_cast<std::size_t>(r)]);
        if (batch.target[i] < 0) continue;
        EXPECT_EQ(batch.target[i], batch.histories.item[i]);
        EXPECT_EQ(batch.label[i], static_cast<float>(batch.target[i] % 2));
        EXPECT_EQ(batch.label[i], static_cast<float>(batch.histories.action[i]));
        EXPECT_TRUE(seen.insert(batch.target[i]).second);
      }
  }
  EXPECT_EQ(static_cast<std::int64_t>(seen.size()), train);
  EXPECT_NE(message([&] {
              Batches(data, {.form = BatchForm::each_item, .subsequences = true}, 1);
            }).find("train.subsequences has no meaning here"),
            std::string::npos);
}

TEST(Batches, LabelsOtherThanZeroAndOneAreRefusedWithTheRecord) {
  Dataset data = leave_one_out();
  data.interactions.label[4] = 5;
  EXPECT_EQ(message([&] { Batches(data, {.with_labels = true}, 1); }),
            "'world': a click head reads labels 0 and 1, 1 interaction has another:\n  interaction 5 (user u1, item "
            "i101): the label is 5");
  data.interactions.label.assign(data.interactions.item.size(), -1);
  EXPECT_NE(message([&] { check_clicks(data); }).find("the label is -1\n  ... and "), std::string::npos);
}

}  // namespace tessera
