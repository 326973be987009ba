#include "tensor/ops/topk/topk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Tensor random_f32(const Shape& shape, std::uint64_t seed) { return random_f64(shape, seed).to(DType::f32); }

// Coarse numbers, whose inner products are exact, so that ties are frequent and every implementation agrees on the
// scores.
Tensor coarse(const Shape& shape, std::uint64_t seed) {
  Tensor x(shape);
  Random random(seed, 0);
  for (float& value : x.values<float>()) value = static_cast<float>(random.below(5) - 2);
  return x;
}

struct Filters {
  std::vector<std::int64_t> offset;
  std::vector<std::int32_t> excluded;
  std::vector<std::uint8_t> allowed;
  Tensor bias;
};

// The composition: all scores, filters, a full sort.
TopK composed(const Tensor& queries, const Tensor& items, int k, const Filters& filters) {
  TopK out;
  const std::int64_t rows = queries.dim(0), count = items.dim(0), width = items.dim(1);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::vector<float> score(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      float dot = filters.bias ? filters.bias.data<float>()[i] : 0.0f;
      for (std::int64_t d = 0; d < width; ++d)
        dot += queries.data<float>()[row * width + d] * items.data<float>()[i * width + d];
      score[static_cast<std::size_t>(i)] =
          filters.allowed.empty() || filters.allowed[static_cast<std::size_t>(i)] ? dot : -kInfinity;
    }
    if (!filters.offset.empty())
      for (auto j = filters.offset[static_cast<std::size_t>(row)];
           j < filters.offset[static_cast<std::size_t>(row) + 1]; ++j)
        score[static_cast<std::size_t>(filters.excluded[static_cast<std::size_t>(j)])] = -kInfinity;
    std::vector<std::int32_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
    });
    for (int i = 0; i < k; ++i) {
      const bool there = i < count && score[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] > -kInfinity;
      out.index.push_back(there ? order[static_cast<std::size_t>(i)] : -1);
      out.score.push_back(there ? score[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] : -kInfinity);
    }
  }
  return out;
}

Filters random_filters(std::int64_t rows, std::int64_t count, std::uint64_t seed) {
  Filters filters;
  Random random(seed, 1);
  filters.offset = {0};
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t n = random.below(7); n > 0; --n)
      filters.excluded.push_back(static_cast<std::int32_t>(random.below(count)));
    filters.offset.push_back(static_cast<std::int64_t>(filters.excluded.size()));
  }
  for (std::int64_t i = 0; i < count; ++i) filters.allowed.push_back(random.below(4) > 0);
  filters.bias = coarse({count}, seed + 1);
  return filters;
}

TopK run(const Tensor& queries, const Tensor& items, int k, const Filters& f = {}) {
  return topk_inner_product(queries, items, k, f.offset, f.excluded, f.allowed, f.bias);
}

}  // namespace

TEST(TopK, GoldenValues) {
  const TopK best = topk(Tensor::from<float>({1, 7, 3, 7, -1, -2, -3, -4}, {2, 4}), 3);
  EXPECT_EQ(best.index, (std::vector<std::int32_t>{1, 3, 2, 0, 1, 2}));
  EXPECT_EQ(best.score, (std::vector<float>{7, 7, 3, -1, -2, -3}));
}

TEST(TopK, NanAndMinusInfinityNeverWin) {
  const TopK best = topk(Tensor::from<float>({NAN, -kInfinity, 1, kInfinity}, {1, 4}), 4);
  EXPECT_EQ(best.index, (std::vector<std::int32_t>{3, 2, -1, -1}));
  EXPECT_EQ(best.score[2], -kInfinity);
}

TEST(TopK, NanHidesNothingInALongRow) {
  Tensor x = Tensor::full({1, 1000}, -1.0);
  for (const std::size_t i : {0u, 130u, 131u, 255u, 400u, 999u}) x.values<float>()[i] = std::nanf("");
  x.values<float>()[129] = 5.0f;  // before and after NaN in its block
  x.values<float>()[398] = 4.0f;
  x.values<float>()[998] = 3.0f;
  x.values<float>()[3] = 2.0f;
  EXPECT_EQ(topk(x, 4).index, (std::vector<std::int32_t>{129, 398, 998, 3}));
}

TEST(TopK, EqualsASort) {
  for (const auto& [n, k] : {std::pair{1, 1}, {7, 3}, {1000, 50}, {1000, 1000}, {37, 60}}) {
    const Tensor x = coarse({5, n}, 3), one = Tensor::full({1, 1}, 1);
    const TopK best = topk(x, k);
    for (std::int64_t row = 0; row < 5; ++row) {
      const TopK expected = composed(one, x.row_range(row, row + 1).reshape({n, 1}), k, {});
      EXPECT_TRUE(std::equal(expected.index.begin(), expected.index.end(), best.index.begin() + row * k));
      EXPECT_TRUE(std::equal(expected.score.begin(), expected.score.end(), best.score.begin() + row * k));
    }
  }
}

TEST(TopKInnerProduct, EqualsItsComposition) {
  for (const auto& [rows, count, width] :
       {std::array<std::int64_t, 3>{1, 1, 1}, {1, 20'000, 3}, {33, 517, 8}, {70, 1300, 5}, {300, 40, 2}})
    for (const int k : {1, 10, 60}) {
      const Tensor queries = coarse({rows, width}, 1), items = coarse({count, width}, 2);
      for (const Filters& filters : {Filters{}, random_filters(rows, count, 3)}) {
        const TopK fused = run(queries, items, k, filters), expected = composed(queries, items, k, filters);
        EXPECT_EQ(fused.index, expected.index) << rows << " " << count << " k " << k;
        EXPECT_EQ(fused.score, expected.score);
      }
    }
}

TEST(TopKInnerProduct, UnsortedAndRepeatedExclusions) {
  const Tensor query = Tensor::full({1, 1}, 1), items = Tensor::from<float>({5, 4, 3, 2, 1}, {5, 1});
  const TopK best = run(query, items, 3, {.offset = {0, 3}, .excluded = {3, 0, 3}, .allowed = {}, .bias = {}});
  EXPECT_EQ(best.index, (std::vector<std::int32_t>{1, 2, 4}));
}

TEST(TopKInnerProduct, NothingLeft) {
  const TopK best = run(Tensor::full({2, 1}, 1), Tensor::full({2, 1}, 1), 2,
                        {.offset = {}, .excluded = {}, .allowed = {0, 0}, .bias = {}});
  EXPECT_EQ(best.index, (std::vector<std::int32_t>{-1, -1, -1, -1}));
  EXPECT_TRUE(run(Tensor({0, 4}), Tensor::zeros({3, 4}), 2).index.empty());
  EXPECT_EQ(run(Tensor::zeros({1, 4}), Tensor({0, 4}), 2).index, (std::vector<std::int32_t>{-1, -1}));
}

TEST(TopKInnerProduct, SameBitsForAnyThreads) {
  const Tensor queries = random_f32({70, 33}, 1), items = random_f32({9000, 33}, 2);
  EXPECT_TRUE(same_bits([&] { return Tensor::from<float>(run(queries, items, 20).score, {70, 20}); }));
  EXPECT_TRUE(same_bits([&] { return Tensor::from<float>(run(queries.row_range(0, 1), items, 20).score, {20}); }));
}

TEST(TopK, Refusals) {
  const Tensor queries = Tensor::zeros({2, 3}), items = Tensor::zeros({5, 3});
  EXPECT_EQ(message_of([&] { topk(queries, 0); }), "topk: k is 0, expected 1 or more");
  EXPECT_EQ(message_of([&] { topk(Tensor({3}), 1); }), "topk: x is f32 (3), expected f32 of rank 2");
  EXPECT_EQ(message_of([&] {
              run(queries, Tensor({5, 4}), 1);
            }),
            "topk_inner_product: queries (2, 3), items (5, 4): 3 is not 4");
  EXPECT_EQ(message_of([&] {
              run(queries, items, 1, {.offset = {0, 1}, .excluded = {1}, .allowed = {}, .bias = {}});
            }),
            "topk_inner_product: excluded_offset has 2 numbers for 2 queries, expected 3");
  EXPECT_EQ(message_of([&] {
              run(queries, items, 1, {.offset = {0, 1, 1}, .excluded = {5}, .allowed = {}, .bias = {}});
            }),
            "topk_inner_product: excluded[0] is 5, expected 0 .. 4");
  EXPECT_EQ(message_of([&] {
              run(queries, items, 1, {.offset = {0, 1, 1}, .excluded = {1, 2}, .allowed = {}, .bias = {}});
            }),
            "topk_inner_product: offset ends at 1, excluded has 2 rows");
  EXPECT_EQ(message_of([&] { run(queries, items, 1, {.offset = {}, .excluded = {}, .allowed = {1}, .bias = {}}); }),
            "topk_inner_product: allowed has 1 numbers for 5 items");
  EXPECT_EQ(
      message_of([&] { run(queries, items, 1, {.offset = {}, .excluded = {}, .allowed = {}, .bias = Tensor({4})}); }),
      "topk_inner_product: item_bias (4) for 5 items");
}

}  // namespace tessera
