#include "tensor/ops/reduce/reduce.h"

#include <gtest/gtest.h>

#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using Offset = std::vector<std::int64_t>;

}  // namespace

TEST(Reduce, GoldenValues) {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(sum(x).item(), 21.0);
  EXPECT_EQ(mean(x).item(), 3.5);
  EXPECT_EQ(sum_columns(x).values<float>()[2], 9.0f);
  EXPECT_EQ(row_sum(x).values<float>()[1], 15.0f);
  EXPECT_EQ(row_dot(x, x).values<float>()[0], 14.0f);
  EXPECT_EQ(sum(Tensor({0, 4})).item(), 0.0);
}

TEST(Reduce, SegmentsGoldenValues) {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  const Offset offset = {0, 2, 2, 3};  // two rows, none, one
  const Tensor total = segment_sum(x, offset), average = segment_mean(x, offset);
  const std::vector<float> expected_sum = {4, 6, 0, 0, 5, 6}, expected_mean = {2, 3, 0, 0, 5, 6};
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(total.values<float>()[i], expected_sum[i]);
    EXPECT_EQ(average.values<float>()[i], expected_mean[i]);
  }
  EXPECT_EQ(segment_sum(Tensor({0, 2}), Offset{0}).shape(), (Shape{0, 2}));
}

TEST(Reduce, LongSumsOfSmallNumbersKeepTheirDigits) {
  const Tensor x = Tensor::full({1 << 22}, 0.1);
  EXPECT_NEAR(sum(x).item(), 0.1f * double{1 << 22}, 0.05);  // one f32 accumulator would be off by thousands
  EXPECT_NEAR(sum_columns(x.reshape({1 << 20, 4})).values<float>()[3], 0.1f * double{1 << 20}, 0.01);
}

TEST(ReduceGrad, Gradcheck) {
  for (const Shape& shape : {Shape{4, 7}, Shape{1, 1}, Shape{3, 1}, Shape{17, 31}}) {
    EXPECT_LT(gradcheck([](const auto& x) { return sum(x[0]); }, {random_f64(shape, 1)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return mean(x[0]); }, {random_f64(shape, 1)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return sum_columns(x[0]); }, {random_f64(shape, 2)}), 1e-8);
    EXPECT_LT(gradcheck([](const auto& x) { return row_sum(x[0]); }, {random_f64(shape, 3)}), 1e-8);
    EXPECT_LT(
        gradcheck([](const auto& x) { return row_dot(x[0], x[1]); }, {random_f64(shape, 4), random_f64(shape, 5)}),
        1e-8);
  }
}

TEST(ReduceGrad, Segments) {
  for (const Offset& offset : {Offset{0, 5}, Offset{0, 0, 2, 2, 5, 5}, Offset{0, 1, 2, 3, 4, 5}}) {
    EXPECT_LT(gradcheck([&](const auto& x) { return segment_sum(x[0], offset); }, {random_f64({5, 3}, 1)}), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& x) { return segment_mean(x[0], offset); }, {random_f64({5, 3}, 2)}), 1e-8);
  }
}

TEST(ReduceGrad, OffsetsMayDieBeforeBackward) {
  Tape tape;
  const Tensor x = tape.watch(random_f64({3, 1}, 1));
  Tensor y;
  {
    Offset offset = {0, 1, 3};
    y = segment_mean(x, offset);
    offset = {0, 0, 0};
  }
  tape.backward(y, Tensor::from<double>({4, 8}, {2, 1}));
  EXPECT_EQ(tape.gradient(x).values<double>()[0], 4.0);
  EXPECT_EQ(tape.gradient(x).values<double>()[2], 4.0);
}

TEST(Reduce, SameBitsForAnyThreads) {
  const Tensor x = random_f64({2017, 129}, 1).to(DType::f32);
  Offset offset = {0};
  while (offset.back() < 2017) offset.push_back(std::min<std::int64_t>(2017, offset.back() + offset.back() % 13 + 1));
  EXPECT_TRUE(same_bits([&] { return sum(x); }));
  EXPECT_TRUE(same_bits([&] { return sum_columns(x); }));
  EXPECT_TRUE(same_bits([&] { return row_dot(x, x); }));
  EXPECT_TRUE(same_bits([&] { return segment_mean(x, offset); }));
}

TEST(Reduce, Refusals) {
  const Tensor x({6, 2});
  EXPECT_EQ(message_of([&] { segment_sum(x, Offset{0, 5}); }), "segment_sum: offset ends at 5, x has 6 rows");
  EXPECT_EQ(message_of([&] {
              segment_mean(x, Offset{0, 4, 3, 6});
            }),
            "segment_mean: offset[2] is 3, less than the one before it, 4");
  EXPECT_EQ(message_of([&] { segment_mean(x, Offset{1, 6}); }), "segment_mean: offset starts at 1, expected 0");
  EXPECT_EQ(message_of([&] { segment_mean(x, {}); }),
            "segment_mean: offset is empty, expected one number more than there are sequences");
  EXPECT_EQ(message_of([&] { mean(Tensor({0, 2})); }), "mean: x (0, 2) has no elements");
  EXPECT_EQ(message_of([&] { row_dot(x, Tensor({6, 3})); }), "row_dot: a (6, 2), b (6, 3), expected two times (N, D)");
  EXPECT_EQ(message_of([&] { row_sum(Tensor::scalar(1)); }), "row_sum: x is a scalar, expected (N, D)");
}

}  // namespace tessera
