#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "framework/data/batches.h"
#include "framework/data/dataset.h"
#include "framework/data/rejects.h"
#include "framework/data/split.h"
#include "framework/data/testing.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

using testing::leave_one_out;
using testing::world;

bool equal(const TrainBatch& a, const TrainBatch& b) {
  return a.histories.user == b.histories.user && a.histories.offset == b.histories.offset &&
         a.histories.item == b.histories.item && a.histories.time == b.histories.time && a.target == b.target &&
         a.label == b.label && a.step == b.step;
}

std::string message(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::map<Part, std::int64_t> count(const Dataset& data) {
  std::map<Part, std::int64_t> counts;
  for (const Part part : data.interactions.part) ++counts[part];
  return counts;
}

}  // namespace

TEST(Batches, EveryPositionShiftsByOne) {
  const Dataset data = leave_one_out();
  const Batches batches(data, {.batch_size = 8, .max_items = 5}, 7);
  EXPECT_EQ(batches.per_epoch(), 7);  // 57 users, 3 of them with a single training item
  std::set<std::int32_t> users;
  std::int64_t targets = 0;
  for (std::int64_t b = 0; b < batches.per_epoch(); ++b) {
    const TrainBatch batch = batches.batch(0, b);
    ASSERT_EQ(batch.target.size(), batch.histories.item.size());
    ASSERT_EQ(batch.histories.time.size(), batch.histories.item.size());
    EXPECT_TRUE(batch.label.empty());
    for (std::int64_t r = 0; r < batch.histories.rows(); ++r) {
      const std::int32_t user = batch.histories.user[static_cast<std::size_t>(r)];
      EXPECT_TRUE(users.insert(user).second);
      const std::int32_t train = 1 + user % 20;  // two are held out
      const auto begin = static_cast<std::size_t>(batch.histories.offset[r]),
                 end = static_cast<std::size_t>(batch.histories.offset[r + 1]);
      ASSERT_EQ(static_cast<std::int32_t>(end - begin), std::min(5, train - 1));
      EXPECT_EQ(batch.target[end - 1], 100 * user + train - 1);
      for (std::size_t i = begin; i < end; ++i) EXPECT_EQ(batch.target[i], batch.histories.item[i] + 1);
    }
    targets += static_cast<std::int64_t>(batch.target.size());
  }
  EXPECT_EQ(users.size(), 54u);
  EXPECT_EQ(targets, batches.targets_per_epoch());
}

TEST(Batches, LastItemIsIncludedWithoutTarget) {
  const Dataset data = leave_one_out();
  const Batches batches(
      data, {.form = BatchForm::every_position_last_included, .batch_size = 100, .max_items = 5, .with_labels = true},
      7);
  const TrainBatch batch = batches.batch(0, 0);
  std::int64_t targets = 0;
  for (std::int64_t r = 0; r < batch.histories.rows(); ++r) {
    const std::int32_t user = batch.histories.user[static_cast<std::size_t>(r)], train = 1 + user % 20;
    const auto begin = static_cast<std::size_t>(batch.histories.offset[r]),
               end = static_cast<std::size_t>(batch.histories.offset[r + 1]);
    ASSERT_EQ(static_cast<std::int32_t>(end - begin), std::min(6, train));
    EXPECT_EQ(batch.histories.item[end - 1], 100 * user + train - 1);
    EXPECT_EQ(batch.target[end - 1], -1);
    for (std::size_t i = begin; i + 1 < end; ++i, ++targets) {
      EXPECT_EQ(batch.target[i], batch.histories.item[i + 1]);
      EXPECT_EQ(batch.label[i], static_cast<float>(batch.target[i] % 2));
    }
  }
  EXPECT_EQ(targets, batches.targets_per_epoch());
}

TEST(Batches, OneTargetIsTheLastItemOrEveryItem) {
  const Dataset data = leave_one_out();
  const Batches last(data, {.form = BatchForm::one_target, .batch_size = 100, .max_items = 4}, 7);
  EXPECT_EQ(last.targets_per_epoch(), 54);
  const TrainBatch batch = last.batch(0, 0);
  ASSERT_EQ(batch.target.size(), 54u);
  for (std::int64_t r = 0; r < batch.histories.rows(); ++r) {
    const auto end = static_cast<std::size_t>(batch.histories.offset[r + 1]);
    EXPECT_EQ(batch.target[r], 100 * batch.histories.user[r] + batch.histories.user[r] % 20);
    EXPECT_EQ(batch.histories.item[end - 1], batch.target[r] - 1);
    EXPECT_LE(batch.histories.offset[r + 1] - batch.histories.offset[r], 4);
  }
  std::int64_t train = 0;
  for (const Part part : data.interactions.part) train += part == Part::train;
  const Batches every(
      data, {.form = BatchForm::one_target, .batch_size = 10, .subsequences = true, .empty_histories = true}, 7);
  EXPECT_EQ(every.targets_per_epoch(), train);
  std::set<std::int32_t> seen;
  for (std::int64_t b = 0; b < every.per_epoch(); ++b)
    for (const std::int32_t target : every.batch(3, b).target) EXPECT_TRUE(seen.insert(target).second);
  EXPECT_EQ(static_cast<std::int64_t>(seen.size()), train);
}

TEST(Batches, SubsetsAreDrawnFromBothSidesOfTheTargetAnewEachEpoch) {
  const Dataset data = leave_one_out();
  BatchOptions options;
  options.form = BatchForm::one_target;
  options.subsequences = true;
  options.subset = 5;
  options.batch_size = 16;
  const Batches batches(data, options, 3);
  std::map<std::int32_t, std::set<std::vector<std::int32_t>>> drawn;  // sets by target
  bool before = false, after = false;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch)
    for (std::int64_t index = 0; index < batches.per_epoch(); ++index) {
      const TrainBatch batch = batches.batch(epoch, index);
      for (std::size_t b = 0; b < batch.target.size(); ++b) {
        const std::int32_t target = batch.target[b], user = batch.histories.user[b], trained = 1 + user % 20;
        const std::vector<std::int32_t> set(batch.histories.item.begin() + batch.histories.offset[b],
                                            batch.histories.item.begin() + batch.histories.offset[b + 1]);
        EXPECT_EQ(static_cast<int>(set.size()), std::min(5, trained - 1));
        EXPECT_EQ(std::set<std::int32_t>(set.begin(), set.end()).size(), set.size());
        for (const std::int32_t item : set) {
          EXPECT_TRUE(item != target && item >= 100 * user && item < 100 * user + trained);
          before = before || item < target;
          after = after || item > target;
        }
        drawn[target].insert(set);
      }
    }
  EXPECT_TRUE(before && after);
  std::int64_t targets = 0;
  for (std::int32_t user = 0; user < 57; ++user) targets += user % 20 == 0 ? 0 : 1 + user % 20;
  EXPECT_EQ(static_cast<std::int64_t>(drawn.size()), targets);  // users with one training item give none
  EXPECT_EQ(drawn[100 * 19 + 3].size(), 3u);
  options.subset_keeps_target = true;
  bool kept = false;
  const TrainBatch batch = Batches(data, options, 3).batch(0, 0);
  for (std::size_t b = 0; b < batch.target.size(); ++b)
    for (auto i = batch.histories.offset[b]; i < batch.histories.offset[b + 1]; ++i)
      kept = kept || batch.histories.item[static_cast<std::size_t>(i)] == batch.target[b];
  EXPECT_TRUE(kept);
}

TEST(Batches, CropsBeginAnywhereAndCoverLongSequences) {
  const Dataset data = leave_one_out();
  const Batches batches(data, {.batch_size = 100, .max_items = 3, .subsequences = true}, 7);
  std::set<std::int32_t> targets;
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    const TrainBatch batch = batches.batch(epoch, 0);
    for (std::size_t i = 0; i < batch.target.size(); ++i) EXPECT_EQ(batch.target[i], batch.histories.item[i] + 1);
    targets.insert(batch.target.begin(), batch.target.end());
  }
  std::size_t possible = 0;
  for (std::int32_t user = 0; user < 57; ++user) possible += static_cast<std::size_t>(user % 20);
  EXPECT_EQ(targets.size(), possible);
}

TEST(Batches, AreAFunctionOfSeedEpochAndIndex) {
  const Dataset data = leave_one_out();
  const BatchOptions options{.batch_size = 4};
  const Batches first(data, options, 7), second(data, options, 7), other(data, options, 8);
  const TrainBatch wanted = first.batch(2, 5);
  for (std::int64_t b = 0; b < second.per_epoch(); ++b) second.batch(0, b);
  set_threads(3);
  EXPECT_TRUE(equal(second.batch(2, 5), wanted));
  set_threads(1);
  EXPECT_EQ(wanted.step, 2 * first.per_epoch() + 5);
  EXPECT_FALSE(equal(first.batch(1, 5), wanted));
  EXPECT_FALSE(equal(other.batch(2, 5), wanted));
}

TEST(Batches, BucketsHoldLikeLengths) {
  const Dataset data = leave_one_out();
  const auto spread = [&](bool bucket) {
    const Batches batches(data, {.batch_size = 6, .bucket = bucket}, 7);
    std::int64_t padding = 0;
    for (std::int64_t b = 0; b < batches.per_epoch(); ++b) {
      const Histories histories = batches.batch(0, b).histories;
      std::int64_t longest = 0;
      for (std::int64_t r = 0; r < histories.rows(); ++r)
        longest = std::max(longest, histories.offset[r + 1] - histories.offset[r]);
      padding += longest * histories.rows() - histories.size();
    }
    return padding;
  };
  EXPECT_LT(3 * spread(true), spread(false));
}

TEST(Batches, RefusesWhatItCannotTrainOn) {
  Dataset data = world(2);
  EXPECT_EQ(message([&] { Batches(data, {}, 1); }),
            "batches: 'world' has 0 parts for 7 interactions; call split() first");
  data.interactions.part.assign(7, Part::test);
  EXPECT_EQ(message([&] { Batches(data, {}, 1); }),
            "batches: 'world' has nothing to train on: no user has two training interactions");
  data.interactions.label.clear();
  EXPECT_EQ(message([&] { Batches(data, {.with_labels = true}, 1); }),
            "'world' has no labels, but the head learns from clicks; use a source with labels, or make them of ratings "
            "with data.positive_above");
}

TEST(Questions, ValidKnowsTrainingAndTestKnowsBoth) {
  const Dataset data = leave_one_out();
  const Questions valid = questions(data, Part::valid), test = questions(data, Part::test, 4);
  ASSERT_EQ(valid.histories.rows(), 57);
  for (std::int64_t r = 0; r < 57; ++r) {
    const std::int32_t n = 3 + static_cast<std::int32_t>(r) % 20;
    EXPECT_EQ(valid.histories.offset[r + 1] - valid.histories.offset[r], n - 2);
    EXPECT_EQ(valid.target[r], 100 * r + n - 2);
    EXPECT_EQ(test.histories.offset[r + 1] - test.histories.offset[r], std::min(4, n - 1));
    EXPECT_EQ(test.histories.item[test.histories.offset[r + 1] - 1], 100 * r + n - 2);
    EXPECT_EQ(test.target[r], 100 * r + n - 1);
  }
  const Questions part = slice(test, 10, 13);
  EXPECT_EQ(part.histories.user, (std::vector<std::int32_t>{10, 11, 12}));
  EXPECT_EQ(part.histories.offset.front(), 0);
  EXPECT_EQ(part.histories.item.front(), test.histories.item[test.histories.offset[10]]);
  EXPECT_EQ(part.histories.time.size(), part.histories.item.size());
  EXPECT_EQ(part.target_offset, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(part.target.front(), test.target[10]);
}

TEST(Questions, UsersWithNothingToAskAreLeftOut) {
  Dataset data = world(2);
  using enum Part;
  data.interactions.part = {train, test, test, train, train, train, none};
  const Questions asked = questions(data, test);
  EXPECT_EQ(asked.histories.user, std::vector<std::int32_t>{0});
  EXPECT_EQ(asked.histories.item, std::vector<std::int32_t>{0});
  EXPECT_EQ(asked.target, (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(questions(data, valid).histories.rows(), 0);
}

TEST(Questions, HistoriesOfListsAreJagged) {
  const Histories histories = histories_of({{3, 1}, {}, {2}});
  EXPECT_EQ(histories.user, (std::vector<std::int32_t>{-1, -1, -1}));
  EXPECT_EQ(histories.offset, (std::vector<std::int64_t>{0, 2, 2, 3}));
  EXPECT_EQ(histories.item, (std::vector<std::int32_t>{3, 1, 2}));
}

TEST(Split, LeaveOneOutKeepsShortUsersForTraining) {
  Dataset data = world(3);  // 3, 4 and 5 items
  split(data, {.min_items = 4}, 1);
  using enum Part;
  EXPECT_EQ(data.interactions.part,
            (std::vector<Part>{train, train, train, train, train, valid, test, train, train, train, valid, test}));
}

TEST(Split, TimeCutsOnceForAll) {
  Dataset data = world(20);
  split(data, {.method = "time", .valid = 0.2, .test = 0.1}, 1);
  std::int64_t newest_train = 0, oldest_valid = 1 << 30, newest_valid = 0, oldest_test = 1 << 30;
  for (std::int64_t i = 0; i < data.interactions.size(); ++i) {
    const std::int64_t time = data.interactions.time[i];
    if (data.interactions.part[i] == Part::train) newest_train = std::max(newest_train, time);
    if (data.interactions.part[i] == Part::valid)
      oldest_valid = std::min(oldest_valid, time), newest_valid = std::max(newest_valid, time);
    if (data.interactions.part[i] == Part::test) oldest_test = std::min(oldest_test, time);
  }
  EXPECT_LE(newest_train, oldest_valid);
  EXPECT_LE(newest_valid, oldest_test);
  EXPECT_EQ(count(data)[Part::test], 25);  // of 250
  EXPECT_EQ(count(data)[Part::valid], 50);
}

TEST(Split, RatioIsPerUserAndRepeatable) {
  Dataset data = world(40), again = world(40), other = world(40);
  const SplitOptions options{.method = "ratio", .valid = 0.2, .test = 0.2};
  split(data, options, 5);
  set_threads(3);
  split(again, options, 5);
  set_threads(1);
  split(other, options, 6);
  EXPECT_EQ(data.interactions.part, again.interactions.part);
  EXPECT_NE(data.interactions.part, other.interactions.part);
  for (std::int64_t u = 0; u < data.users(); ++u) {
    const std::int64_t n = data.interactions.end(u) - data.interactions.begin(u);
    std::int64_t test = 0;
    for (std::int64_t i = data.interactions.begin(u); i < data.interactions.end(u); ++i)
      test += data.interactions.part[i] == Part::test;
    EXPECT_EQ(test, std::llround(0.2 * static_cast<double>(n)));
  }
}

TEST(Split, SaysWhatDoesNotFit) {
  Dataset data = world(3);
  EXPECT_EQ(
      message([&] { split(data, {.method = "given"}, 1); }),
      "split: method 'given', but 'world' came without a split of its own; use leave_one_out, time, ratio or mmrec");
  EXPECT_NE(message([&] {
              split(data, {.method = "time", .valid = 0.5, .test = 0.5}, 1);
            }).find("valid 0.5 and test 0.5 leave nothing to train on"),
            std::string::npos);
  data.interactions.time.clear();
  EXPECT_EQ(message([&] { split(data, {.method = "time"}, 1); }),
            "split: method 'time', but the interactions of 'world' have no times; use leave_one_out or ratio");
}

TEST(Rejects, ShowTenAndCountTheRest) {
  Rejects rejects;
  rejects.finish();
  for (int i = 1; i <= 12; ++i) rejects.add("a.txt", i, "is bad");
  const std::string text = message([&] { rejects.finish(); });
  EXPECT_EQ(text.substr(0, 41), "12 bad records\n  a.txt:1: is bad\n  a.txt:");
  EXPECT_NE(text.find("a.txt:10: is bad\n  and 2 more\ncorrect them, or leave them out with --skip-bad"),
            std::string::npos);
  EXPECT_EQ(text.find("a.txt:11"), std::string::npos);

  Rejects skipping(true);
  skipping.add("a.txt", 4, "is bad");
  skipping.finish();
  EXPECT_EQ(skipping.count(), 1);
  EXPECT_EQ(skipping.first(), std::vector<std::string>{"a.txt:4: is bad"});
}

TEST(Dataset, ValidateNamesEveryProblem) {
  Dataset data = leave_one_out();
  validate(data);
  data.items.ids[3] = "i1";
  data.interactions.item[2] = 100000;
  data.interactions.rating.assign(data.interactions.item.size(), 1.0f);
  data.interactions.rating[5] = std::numeric_limits<float>::infinity();
  data.interactions.time[1] = 5000;
  data.features["text"] = {"text", Tensor::zeros({data.item_count(), 2}),
                           std::vector<std::uint8_t>(data.items.ids.size(), 1)};
  data.features["text"].values.data<float>()[9] = std::numeric_limits<float>::quiet_NaN();
  data.interactions.offset.push_back(data.interactions.size());
  data.user_ids.push_back("lonely");
  const std::string text = message([&] { validate(data); });
  for (const char* part :
       {"dataset 'world' does not fit together: 6 bad records", "items.ids:3: 'i1' is already the id of number 1",
        "interactions.item:2: is item 100000, but the catalogue has 5700",
        "interactions.rating:5: is inf, expected a finite", "interactions.time:2: 2000 is earlier than",
        "users:57: 'lonely' has no interactions", "features.text:4: column 1 is nan, expected a finite number"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(Dataset, ValidateChecksSizes) {
  Dataset data = leave_one_out();
  data.items.titles.resize(3);
  data.interactions.label.pop_back();
  data.features["image"] = {"image", Tensor::zeros({5, 2}), {}};
  const std::string text = message([&] { validate(data); });
  EXPECT_NE(text.find("items.titles:0: holds 3 entries, expected 5700, one for each item"), std::string::npos) << text;
  EXPECT_NE(text.find("interactions.label:0: holds"), std::string::npos) << text;
  EXPECT_NE(text.find("features.image:0: has the shape (5, 2), expected (5700, D)"), std::string::npos) << text;
}

TEST(Dataset, FingerprintSeesIdsInteractionsAndParts) {
  const Dataset data = leave_one_out();
  const std::string print = fingerprint(data);
  EXPECT_EQ(print.size(), 16u);
  EXPECT_EQ(print, fingerprint(leave_one_out()));
  std::set<std::string> prints{print};
  for (int change = 0; change < 4; ++change) {
    Dataset other = leave_one_out();
    if (change == 0) other.items.ids[0] = "x";
    if (change == 1) std::swap(other.interactions.item[0], other.interactions.item[1]);
    if (change == 2) other.interactions.part[0] = Part::none;
    if (change == 3) other.user_ids[1] = "x";
    EXPECT_TRUE(prints.insert(fingerprint(other)).second) << change;
  }
}

TEST(Dataset, TrainCountsLeaveOutWhatIsHeldOut) {
  Dataset data = leave_one_out();
  const auto counts = train_counts(data);
  EXPECT_EQ(counts[300], 1);
  EXPECT_EQ(counts[303], 1);
  EXPECT_EQ(counts[304], 0);  // user 3 has 6 items, 304 validates
  data.interactions.part.clear();
  EXPECT_NE(message([&] { train_counts(data); }).find("call split() first"), std::string::npos);
}

}  // namespace tessera
