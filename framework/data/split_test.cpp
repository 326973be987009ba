#include <gtest/gtest.h>

#include <algorithm>

#include "framework/data/batches.h"
#include "framework/data/split.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

// User u has u + 1 different items of 40.
Dataset world(std::int64_t users = 35) {
  Dataset data;
  data.name = "world";
  for (int i = 0; i < 40; ++i) data.items.ids.push_back(std::to_string(i));
  for (std::int64_t u = 0; u < users; ++u) {
    data.user_ids.push_back(std::to_string(u));
    for (std::int64_t j = 0; j <= u; ++j)
      data.interactions.item.push_back(static_cast<std::int32_t>((3 * u + 7 * j) % 40));
    data.interactions.offset.push_back(data.interactions.size());
  }
  return data;
}

std::int64_t count(const Dataset& data, std::int64_t user, Part part) {
  const auto begin = data.interactions.part.begin();
  return std::count(begin + data.interactions.begin(user), begin + data.interactions.end(user), part);
}

}  // namespace

TEST(Split, MmrecHoldsOutItsNumbers) {
  Dataset data = world();
  split(data, {.method = "mmrec"}, 1);
  const auto parts = [&](std::int64_t n) {
    return std::vector<std::int64_t>{count(data, n - 1, Part::train), count(data, n - 1, Part::valid),
                                     count(data, n - 1, Part::test)};
  };
  using Numbers = std::vector<std::int64_t>;
  EXPECT_EQ(parts(2), (Numbers{2, 0, 0}));  // below min_items
  EXPECT_EQ(parts(3), (Numbers{1, 1, 1}));
  EXPECT_EQ(parts(9), (Numbers{7, 1, 1}));
  EXPECT_EQ(parts(10), (Numbers{8, 1, 1}));
  EXPECT_EQ(parts(15), (Numbers{12, 1, 2}));  // floor(15 / 5) = 3, its half rounded down validates
  EXPECT_EQ(parts(35), (Numbers{28, 3, 4}));
}

TEST(Split, MmrecDrawsBySeedAndUserForAnyThreads) {
  std::vector<std::vector<Part>> found;
  for (const int threads : {1, 2, 3}) {
    set_threads(threads);
    Dataset data = world();
    split(data, {.method = "mmrec"}, 5);
    found.push_back(data.interactions.part);
  }
  set_threads(2);
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[0], found[2]);
  Dataset other = world(), named = world();
  split(other, {.method = "mmrec"}, 6);
  EXPECT_NE(other.interactions.part, found[0]);
  split(named, {.method = "mmrec", .seed = 5}, 6);  // the split's own seed comes before the run's
  EXPECT_EQ(named.interactions.part, found[0]);
  const auto last = other.interactions.part.end() - 35;  // random, not by time
  EXPECT_NE(std::count(last, last + 28, Part::train), 28);
}

TEST(Split, ColdItemsLoseTheirTrainingInteractionsAlone) {
  Dataset warm = world(), cold = world(), more = world();
  split(warm, {.method = "mmrec"}, 1);
  split(cold, {.method = "mmrec", .cold_items = 0.25}, 1);
  split(more, {.method = "mmrec", .cold_items = 0.5}, 1);
  EXPECT_TRUE(warm.cold_items.empty());
  ASSERT_EQ(cold.cold_items.size(), 40u);
  EXPECT_EQ(std::count(cold.cold_items.begin(), cold.cold_items.end(), 1), 10);
  const auto counts = train_counts(cold);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_TRUE(cold.cold_items[i] == 0 || counts[i] == 0);
    EXPECT_LE(cold.cold_items[i], more.cold_items[i]);  // the larger share holds the smaller one
  }
  for (std::int64_t u = 10; u < 35; ++u)
    for (std::int64_t i = cold.interactions.begin(u); i < cold.interactions.end(u); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Part was = warm.interactions.part[at], is = cold.interactions.part[at];
      const bool taken = was == Part::train && cold.cold_items[static_cast<std::size_t>(cold.interactions.item[at])];
      EXPECT_EQ(is, taken ? Part::none : was);
    }
}

TEST(Split, UsersWithoutTrainingCanBeLeftOut) {
  Dataset kept = world(), dropped = world();
  for (Dataset* data : {&kept, &dropped}) {
    data->split_given = true;
    data->interactions.part.assign(data->interactions.item.size(), Part::train);
    for (std::int64_t i = data->interactions.begin(4); i < data->interactions.end(4); ++i)
      data->interactions.part[static_cast<std::size_t>(i)] = Part::test;
    data->interactions.part.back() = Part::test;
  }
  split(kept, {.method = "given"}, 1);
  split(dropped, {.method = "given", .trained_users = true}, 1);
  EXPECT_EQ(questions(kept, Part::test).histories.user, (std::vector<std::int32_t>{4, 34}));
  EXPECT_EQ(questions(dropped, Part::test).histories.user, (std::vector<std::int32_t>{34}));
}

}  // namespace tessera
