#include "tensor/ops/range_cross_entropy/range_cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

// The rows of w are cut into ranges; each query takes one of them and a row in it.
std::vector<RangeChoice> random_choices(std::int64_t queries, const std::vector<std::int32_t>& cuts,
                                        std::uint64_t seed) {
  std::vector<RangeChoice> choices;
  Random random(seed, 1);
  for (std::int64_t i = 0; i < queries; ++i) {
    const auto at = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(cuts.size()) - 1));
    RangeChoice c{cuts[at], cuts[at + 1], 0};
    c.target = c.begin + static_cast<std::int32_t>(random.below(c.end - c.begin));
    choices.push_back(c);
  }
  return choices;
}

Tensor composed(const Tensor& q, const Tensor& w, const std::vector<RangeChoice>& choices) {
  Tensor mask = Tensor::full({q.rows(), w.rows()}, -1e30, q.dtype());
  std::vector<std::int32_t> target;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    for (std::int32_t r = choices[i].begin; r < choices[i].end; ++r)
      mask.data<double>()[static_cast<std::int64_t>(i) * w.rows() + r] = 0.0;
    target.push_back(choices[i].target);
  }
  return cross_entropy(add(matmul(q, w, false, true), mask), target);
}

const std::vector<std::int32_t> kCuts{0, 1, 4, 9, 10, 23};

}  // namespace

TEST(RangeCrossEntropy, EqualsTheMaskedCrossEntropy) {
  for (const std::int64_t queries : {1, 7, 150}) {
    const Tensor q = random_f64({queries, 19}, 1), w = random_f64({23, 19}, 2);
    const auto choices = random_choices(queries, kCuts, 3);
    EXPECT_NEAR(range_cross_entropy(q, w, choices).item(), composed(q, w, choices).item(), 1e-12);
    EXPECT_NEAR(range_cross_entropy(q.to(DType::f32), w.to(DType::f32), choices).item(), composed(q, w, choices).item(),
                1e-5);
  }
  EXPECT_EQ(range_cross_entropy(Tensor({0, 3}), Tensor({2, 3}), {}).item(), 0.0);
}

TEST(RangeCrossEntropy, ASingleChoiceIsCertain) {
  EXPECT_EQ(
      range_cross_entropy(random_f64({1, 3}, 1), random_f64({4, 3}, 2), std::vector<RangeChoice>{{2, 3, 2}}).item(),
      0.0);
}

TEST(RangeCrossEntropyGrad, Gradcheck) {
  for (const std::int64_t queries : {1, 7, 150}) {
    const auto choices = random_choices(queries, kCuts, 3);
    EXPECT_LT(gradcheck([&](const auto& x) { return range_cross_entropy(x[0], x[1], choices); },
                        {random_f64({queries, 5}, 1), random_f64({23, 5}, 2)}),
              1e-8);
    // The table is used twice: its gradient is added to, not overwritten.
    EXPECT_LT(
        gradcheck(
            [&](const auto& x) { return add(range_cross_entropy(x[0], x[1], choices), composed(x[0], x[1], choices)); },
            {random_f64({queries, 5}, 1), random_f64({23, 5}, 2)}),
        1e-8);
  }
}

TEST(RangeCrossEntropy, SameBitsForAnyNumberOfThreads) {
  const auto choices = random_choices(500, kCuts, 3);
  EXPECT_TRUE(same_bits([&] {
    Tape tape;
    const Tensor q = tape.watch(random_f64({500, 33}, 1).to(DType::f32)),
                 w = tape.watch(random_f64({23, 33}, 2).to(DType::f32));
    tape.backward(range_cross_entropy(q, w, choices));
    return add(tape.gradient(w), tape.gradient(q).row_range(0, 23));
  }));
}

TEST(RangeCrossEntropy, RefusesRangesThatOverlap) {
  const Tensor q({2, 3}), w({4, 3});
  EXPECT_NE(message_of([&] {
              range_cross_entropy(q, w, std::vector<RangeChoice>{{0, 2, 1}, {1, 3, 1}});
            }).find("overlap"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              range_cross_entropy(q, w, std::vector<RangeChoice>{{0, 2, 1}, {2, 5, 2}});
            }).find("of 4 rows"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              range_cross_entropy(q, w, std::vector<RangeChoice>{{0, 2, 1}});
            }).find("1 choices for 2 queries"),
            std::string::npos);
}

}  // namespace tessera
