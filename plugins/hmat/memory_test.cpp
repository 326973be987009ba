#include <gtest/gtest.h>

#include <cmath>

#include "plugins/hmat/hmat_testing.h"
#include "tensor/core/testing.h"
#include "tensor/gemm/gemm.h"

namespace tessera {

using namespace testing;

TEST(Hmat, AppendingEqualsEncodingAll) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({7, 3, 11, 9}, 30));
    const std::vector<int> none(4, 0), old = {3, 0, 9, 6}, more = {5, 1, 9, 7}, whole = {7, 3, 11, 9};
    for (const bool states : {true, false}) {
      Memory grown =
          states ? pair.model->encode(part_of(all, none, old)) : pair.model->summarize(part_of(all, none, old));
      pair.model->append(grown, part_of(all, old, more));
      const Memory expected = pair.model->encode(part_of(all, none, more));
      EXPECT_EQ(grown.offset, expected.offset) << v.name;
      EXPECT_LT(largest_difference(grown.summary, expected.summary), 1e-5) << v.name;
      if (states) {
        EXPECT_LT(largest_difference(grown.states, expected.states), 1e-5) << v.name;
      }
      // The third row overflows and forgets its oldest.
      pair.model->append(grown, part_of(all, more, whole));
      const Memory last = pair.model->encode(all);
      EXPECT_EQ(grown.offset, last.offset) << v.name;
      EXPECT_LT(largest_difference(grown.summary, last.summary), 1e-5) << v.name;
      const Candidates next = candidates_of(pair, {0, 1, 2, 3}, {5, 6, 7, 8});
      EXPECT_LT(largest_difference(pair.model->extend(grown, next, nullptr)->states,
                                   pair.model->extend(last, next, nullptr)->states),
                1e-5)
          << v.name;
    }
  }
}

TEST(Hmat, ExtendingEqualsEncodingTheLongerHistory) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({4, 0, 8}, 30));
    const Memory memory = pair.model->summarize(all);
    std::vector<std::int32_t> row, item;
    for (std::int32_t c = 0; c < 21; ++c) {
      row.push_back(c % 3);
      item.push_back((7 * c + 3) % 30);
    }
    const auto extension = pair.model->extend(memory, candidates_of(pair, row, item), nullptr);
    ASSERT_EQ(extension->states.rows(), 21) << v.name;
    for (std::size_t c = 0; c < 21; ++c) {
      const auto b = static_cast<std::size_t>(row[c]);
      std::vector<int> begin(3, 0), end(3, 0);
      end[b] = static_cast<int>(all.offset[b + 1] - all.offset[b]);
      Histories longer = part_of(all, begin, end);
      longer.item.push_back(item[c]);
      longer.action.push_back(0);
      longer.time.push_back(2'000'000'000);
      for (std::size_t r = b + 1; r < 4; ++r) ++longer.offset[r];
      const Memory whole = pair.model->encode(longer);
      EXPECT_LT(largest_difference(
                    extension->states.row_range(static_cast<std::int64_t>(c), static_cast<std::int64_t>(c) + 1),
                    whole.states.row_range(whole.states.rows() - 1, whole.states.rows())),
                1e-5)
          << v.name;
    }
  }
}

TEST(Hmat, ACandidateDoesNotKnowTheOthers) {
  const std::string kept = gemm_backend_name();
  for (const Variant& v : kVariants) {
    set_gemm_backend(&v - kVariants < 3 ? gemm_backends().back() : "eigen");
    std::string model = v.model;  // at sizes that matrix products cut into tiles
    for (const auto& [small, large] : {std::pair("max_items = 9", "max_items = 40"),
                                       {"width = 16", "width = 128"},
                                       {"ffn = 24", "ffn = 512"},
                                       {"layers = 3", "layers = 2"}})
      model.replace(model.find(small), std::string(small).size(), large);
    Pair pair(plugins(), random_tokens(200, 3, 8), model, kDot);
    const Memory memory = pair.model->encode(with_events(histories_of_lengths({40, 13, 0}, 200)));
    std::vector<std::int32_t> row, item;
    for (std::int32_t c = 0; c < 150; ++c) {
      row.push_back(c % 3);
      item.push_back((7 * c + 3) % 200);
    }
    const Tensor together = pair.model->extend(memory, candidates_of(pair, row, item), nullptr)->states;
    Candidates none;
    none.tokens = 3;
    EXPECT_EQ(pair.model->extend(memory, none, nullptr)->states.shape(), Shape({0, 128})) << v.name;
    Random random(9, 9);
    for (const std::int64_t count : {1, 2, 3, 10, 40, 149, 600}) {
      std::vector<std::int32_t> some, some_row, some_item;
      for (std::int64_t i = 0; i < count; ++i) {
        some.push_back(static_cast<std::int32_t>(random.below(150)));
        some_row.push_back(row[static_cast<std::size_t>(some.back())]);
        some_item.push_back(item[static_cast<std::size_t>(some.back())]);
      }
      const Tensor apart = pair.model->extend(memory, candidates_of(pair, some_row, some_item), nullptr)->states;
      for (std::int64_t i = 0; i < count; ++i)
        ASSERT_TRUE(same_bytes(apart.row_range(i, i + 1), together.row_range(some[static_cast<std::size_t>(i)],
                                                                             some[static_cast<std::size_t>(i)] + 1)))
            << v.name << ": candidate " << i << " of " << count;
    }
  }
  set_gemm_backend(kept);
}

// The same for the scores that users see: a list of one, of some, of many candidates.
TEST(Hmat, AClickScoreDoesNotKnowTheOthers) {
  const std::string kept = gemm_backend_name();
  for (const std::string& backend : gemm_backends()) {
    set_gemm_backend(backend);
    Pair pair(plugins(), random_tokens(200, 3, 8), kSmall + "identifiers = 100", "plugin = \"click\"\nhidden = [512]");
    Histories one = with_events(histories_of_lengths({8}, 200));
    std::vector<std::int32_t> items;
    for (std::int32_t i = 0; i < 200; ++i) items.push_back((7 * i + 3) % 200);
    const auto scored = [&](std::size_t from, std::size_t count) {
      const std::vector<std::int64_t> offset = {0, static_cast<std::int64_t>(count)};
      return pair.head->score(*pair.model, one, offset, std::span(items).subspan(from, count));
    };
    const std::vector<float> all = scored(0, 200);
    for (const auto& [from, count] : {std::pair<std::size_t, std::size_t>{0, 1}, {1, 2}, {5, 5}, {17, 30}, {50, 121}}) {
      const std::vector<float> some = scored(from, count);
      EXPECT_EQ(std::memcmp(some.data(), all.data() + from, count * sizeof(float)), 0) << backend << " " << count;
    }
  }
  set_gemm_backend(kept);
}

// What is stored of a user answers as the memory it came from, to the bit, and goes on growing.
TEST(Hmat, StoredRowsAnswerAsBefore) {
  for (const Variant& v : kVariants) {
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    const Histories all = with_events(histories_of_lengths({9, 5, 3, 11}, 30));
    const std::vector<int> none(4, 0), old = {6, 0, 3, 8}, whole = {9, 5, 3, 11};
    Memory memory = pair.model->encode(part_of(all, none, old));
    std::vector<std::vector<Tensor>> stored;
    for (const std::int64_t b : {3, 1, 0, 2}) stored.push_back(pair.model->export_row(memory, b));
    Memory other = pair.model->import_rows(stored);
    const Candidates here = candidates_of(pair, {3, 1, 0, 2}, {1, 2, 3, 4}),
                     there = candidates_of(pair, {0, 1, 2, 3}, {1, 2, 3, 4});
    EXPECT_TRUE(same_bytes(pair.model->extend(memory, here, nullptr)->states,
                           pair.model->extend(other, there, nullptr)->states))
        << v.name;
    const Histories news = part_of(all, old, whole);
    Histories moved;  // the same news in the order 3, 1, 0, 2
    for (const std::size_t b : {std::size_t{3}, std::size_t{1}, std::size_t{0}, std::size_t{2}}) {
      moved.user.push_back(-1);
      for (auto i = static_cast<std::size_t>(news.offset[b]); i < static_cast<std::size_t>(news.offset[b + 1]); ++i) {
        moved.item.push_back(news.item[i]);
        moved.action.push_back(news.action[i]);
        moved.time.push_back(news.time[i]);
      }
      moved.offset.push_back(moved.size());
    }
    pair.model->append(memory, news);
    pair.model->append(other, moved);
    for (const std::int64_t b : {0, 1, 2, 3}) {
      const std::int64_t place = std::vector<std::int64_t>{2, 1, 3, 0}[static_cast<std::size_t>(b)];
      EXPECT_LT(largest_difference(memory.summary.row_range(b, b + 1), other.summary.row_range(place, place + 1)), 1e-5)
          << v.name;
    }
  }
}

// Items behind another see of it nothing but its anchors: with those put back, nothing else of it matters.
TEST(Hmat, OnlyAnchorsCarryThePast) {
  for (const Variant& v : kVariants) {
    if (v.name.find("full") == 0) continue;
    Pair pair(plugins(), random_tokens(30, 3, 4), v.model, kDot);
    Histories one = histories_of_lengths({7}, 30);
    const Memory before = pair.model->encode(one);
    one.item[6] = (one.item[6] + 1) % 30;
    const Memory after = pair.model->encode(one);
    const auto stored = pair.model->export_row(before, 0), changed = pair.model->export_row(after, 0);
    const Candidates next = candidates_of(pair, {0}, {9});
    const Tensor expected = pair.model->extend(before, next, nullptr)->states;
    EXPECT_GT(largest_difference(expected, pair.model->extend(after, next, nullptr)->states), 1e-5) << v.name;
    EXPECT_TRUE(same_bytes(stored[0].row_range(0, 6), changed[0].row_range(0, 6))) << v.name;
    Tensor last = changed[0].row_range(6, 7);
    last.copy_from(stored[0].row_range(6, 7));
    const Memory frozen = pair.model->import_rows(std::vector<std::vector<Tensor>>{changed});
    EXPECT_TRUE(same_bytes(expected, pair.model->extend(frozen, next, nullptr)->states)) << v.name;
  }
}

}  // namespace tessera
