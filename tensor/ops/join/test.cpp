#include "tensor/ops/join/join.h"

#include <gtest/gtest.h>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

void expect_values(const Tensor& y, const Shape& shape, const std::vector<float>& expected) {
  ASSERT_EQ(y.shape(), shape);
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(y.values<float>()[i], expected[i]) << "at " << i;
}

}  // namespace

TEST(Join, GoldenValues) {
  const Tensor a = Tensor::from<float>({1, 2, 3, 4}, {2, 2}), b = Tensor::from<float>({5, 6}, {2, 1});
  const Tensor c = Tensor::from<float>({7, 8}, {1, 2});
  expect_values(concat_columns({a, b}), {2, 3}, {1, 2, 5, 3, 4, 6});
  expect_values(concat_rows({a, c}), {3, 2}, {1, 2, 3, 4, 7, 8});
  expect_values(slice_columns(a, 1, 2), {2, 1}, {2, 4});
  expect_values(slice_rows(a, 1, 2), {1, 2}, {3, 4});
}

TEST(Join, RankOne) {
  const Tensor a = Tensor::from<float>({1, 2}, {2}), b = Tensor::from<float>({3}, {1});
  expect_values(concat_columns({a, b}), {3}, {1, 2, 3});
  expect_values(concat_rows({a, b}), {3}, {1, 2, 3});
  expect_values(slice_columns(a, 0, 1), {1}, {1});
  expect_values(slice_rows(a, 1, 2), {1}, {2});
}

TEST(Join, EmptyParts) {
  const Tensor a = Tensor::from<float>({1, 2}, {1, 2});
  expect_values(concat_rows({Tensor({0, 2}), a}), {1, 2}, {1, 2});
  expect_values(concat_columns({Tensor({1, 0}), a}), {1, 2}, {1, 2});
  expect_values(slice_rows(a, 1, 1), {0, 2}, {});
}

TEST(JoinGrad, Concat) {
  const std::vector<Tensor> columns = {random_f64({4, 3}, 1), random_f64({4, 1}, 2), random_f64({4, 5}, 3)};
  EXPECT_LT(gradcheck([](const auto& x) { return concat_columns({x[0], x[1], x[2]}); }, columns), 1e-8);
  EXPECT_LT(gradcheck([](const auto& x) { return concat_columns({x[0], x[0]}); }, {random_f64({2, 3}, 4)}), 1e-8);
  const std::vector<Tensor> rows = {random_f64({4, 3}, 1), random_f64({1, 3}, 2)};
  EXPECT_LT(gradcheck([](const auto& x) { return concat_rows({x[0], x[1], x[0]}); }, rows), 1e-8);
  EXPECT_LT(gradcheck(
                [](const auto& x) {
                  return concat_rows({square(x[0]), x[1]});
                },
                {random_f64({3}, 1), random_f64({2}, 2)}),
            1e-8);
}

TEST(JoinGrad, Slice) {
  const auto both = [](const auto& x) {  // overlapping slices of one tensor, and the tensor itself
    return concat_rows({slice_rows(x[0], 0, 3), square(slice_rows(x[0], 2, 4)), x[0]});
  };
  EXPECT_LT(gradcheck(both, {random_f64({4, 3}, 1)}), 1e-8);
  const auto columns = [](const auto& x) {
    return concat_columns({slice_columns(x[0], 0, 3), square(slice_columns(x[0], 2, 5)), slice_columns(x[0], 1, 2)});
  };
  EXPECT_LT(gradcheck(columns, {random_f64({4, 5}, 1)}), 1e-8);
  EXPECT_LT(gradcheck([](const auto& x) { return slice_columns(x[0], 1, 3); }, {random_f64({5}, 1)}), 1e-8);
}

TEST(Join, GrowColumnsIsGatherSliceAndConcat) {
  const Tensor before = random_f64({4, 3}, 1), x = random_f64({6, 5}, 2);
  const std::vector<std::int32_t> rows{3, 0, 0, 2, 1, 3};
  const Tensor fused = grow_columns(before, rows, x, 1, 4),
               composed = concat_columns({gather_rows(before, rows), slice_columns(x, 1, 4)});
  ASSERT_EQ(fused.shape(), composed.shape());
  for (std::size_t i = 0; i < 36; ++i) EXPECT_EQ(fused.values<double>()[i], composed.values<double>()[i]);
  EXPECT_EQ(message_of([&] {
              grow_columns(before, std::vector<std::int32_t>{4}, random_f64({1, 2}, 1), 0, 2);
            }),
            "grow_columns: row 4 at 0, expected 0 to 3");
}

TEST(Join, SameBitsForAnyThreads) {
  const Tensor x = random_f64({517, 129}, 1).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return concat_columns({x, slice_columns(x, 3, 100)}); }));
}

TEST(Join, Refusals) {
  const Tensor a({2, 3});
  EXPECT_EQ(message_of([&] {
              concat_columns({a, Tensor({3, 3})});
            }),
            "concat_columns: part 1 is (3, 3), the first is (2, 3): they must have the same number of rows");
  EXPECT_EQ(message_of([&] {
              concat_rows({a, Tensor({2, 4})});
            }),
            "concat_rows: part 1 is (2, 4), the first is (2, 3): they must have the same number of columns");
  EXPECT_EQ(message_of([] { concat_rows({}); }), "concat_rows: no parts");
  EXPECT_EQ(message_of([&] { slice_rows(a, 1, 3); }), "slice_rows: 1 .. 3 of x (2, 3), expected 0 .. 2");
  EXPECT_EQ(message_of([&] {
              slice_columns(Tensor({2, 3, 4}), 0, 1);
            }),
            "slice_columns: x (2, 3, 4), expected rank 1 or 2");
}

}  // namespace tessera
