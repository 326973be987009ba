#include "tensor/ops/edges/edges.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

// Each row with some of the columns; row 1 and the last column have none.
SparseMatrix pattern(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  Random random(seed, 1);
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> column;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int32_t c = 0; c + 1 < columns; ++c)
      if (r != 1 && random.uniform() < 0.3) column.push_back(c);
    offset.push_back(static_cast<std::int64_t>(column.size()));
  }
  return {rows, columns, offset, column};
}

}  // namespace

TEST(Edges, DotIsTheDotOfGatheredRows) {
  const SparseMatrix a = pattern(31, 23, 1);
  for (const std::int64_t width : {1, 16, 37}) {
    const Tensor left = random_f64({31, width}, 1), right = random_f64({23, width}, 2);
    const Tensor y = edge_dot(a, left, right);
    const Tensor composed = row_dot(gather_rows(left, a.row_of_entries()), gather_rows(right, a.column_of_entries()));
    for (std::size_t e = 0; e < y.values<double>().size(); ++e)
      EXPECT_NEAR(y.values<double>()[e], composed.values<double>()[e], 1e-12);
  }
}

TEST(Edges, SoftmaxIsOverTheEntriesOfALine) {
  const SparseMatrix a = pattern(31, 23, 1);
  const Tensor x = random_f64({a.entries()}, 3, 5.0);
  const auto row = a.row_of_entries();
  for (const bool by_columns : {false, true}) {
    const Tensor y = edge_softmax(a, x, by_columns);
    std::vector<double> sum(31, 0.0);
    const auto line = [&](std::size_t e) {
      return static_cast<std::size_t>(by_columns ? a.column_of_entries()[e] : row[e]);
    };
    for (std::size_t e = 0; e < row.size(); ++e) sum[line(e)] += std::exp(x.values<double>()[e]);
    for (std::size_t e = 0; e < row.size(); ++e)
      EXPECT_NEAR(y.values<double>()[e], std::exp(x.values<double>()[e]) / sum[line(e)], 1e-14);
  }
  const Tensor large = Tensor::full({a.entries()}, 1e30);
  for (const float value : edge_softmax(a, large).values<float>()) EXPECT_TRUE(std::isfinite(value));
}

TEST(EdgesGrad, Gradcheck) {
  const SparseMatrix a = pattern(9, 6, 4);
  for (const std::int64_t width : {1, 5})
    EXPECT_LT(gradcheck([&](const auto& x) { return edge_dot(a, x[0], x[1]); },
                        {random_f64({9, width}, 1), random_f64({6, width}, 2)}),
              1e-8);
  for (const bool by_columns : {false, true})
    EXPECT_LT(
        gradcheck([&](const auto& x) { return edge_softmax(a, x[0], by_columns); }, {random_f64({a.entries()}, 3)}),
        1e-8);
}

TEST(Edges, SameBitsForAnyThreads) {
  const SparseMatrix a = pattern(300, 200, 5);
  const Tensor left = random_f64({300, 33}, 1).to(DType::f32), right = random_f64({200, 33}, 2).to(DType::f32);
  const Tensor seed = random_f64({a.entries()}, 3).to(DType::f32);
  for (const bool by_columns : {false, true}) {
    const auto f = [&](const Tensor& r) { return edge_softmax(a, edge_dot(a, left, r), by_columns); };
    EXPECT_TRUE(same_bits([&] { return f(right); }));
    EXPECT_TRUE(same_bits([&] {
      Tape tape;
      const Tensor leaf = tape.watch(right);
      tape.backward(f(leaf), seed);
      return tape.gradient(leaf);
    }));
  }
}

TEST(Edges, RefusesWhatDoesNotFit) {
  const SparseMatrix a(2, 3, {0, 1, 1}, {2});
  EXPECT_EQ(message_of([&] {
              edge_dot(a, Tensor({2, 4}), Tensor({2, 4}));
            }),
            "edge_dot: a (2, 3), left (2, 4), right (2, 4): expected a row of one width for each row and each column "
            "of a");
  EXPECT_EQ(message_of([&] { edge_softmax(a, Tensor({3})); }), "edge_softmax: x (3) for 1 entries");
}

}  // namespace tessera
