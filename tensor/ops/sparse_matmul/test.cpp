#include "tensor/ops/sparse_matmul/sparse_matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

// Rows of 0 to 2 density C entries, columns rising; the first row and the last column are empty.
SparseMatrix random_matrix(std::int64_t rows, std::int64_t columns, double density, std::uint64_t seed) {
  Random random(seed, 1);
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> column;
  std::vector<float> value;
  for (std::int64_t r = 0; r < rows; ++r) {
    const double share = r == 0 ? 0.0 : 2 * density * random.uniform();
    for (std::int32_t c = 0; c + 1 < columns; ++c)
      if (random.uniform() < share) {
        column.push_back(c);
        value.push_back(static_cast<float>(random.normal()));
      }
    offset.push_back(static_cast<std::int64_t>(column.size()));
  }
  return {rows, columns, offset, column, value};
}

// The entries as a dense matrix, with its own values or others.
Tensor dense(const SparseMatrix& a, const Tensor& values = {}) {
  Tensor full = Tensor::zeros({a.rows(), a.columns()}, DType::f64);
  const auto row = a.row_of_entries();
  for (std::size_t e = 0; e < row.size(); ++e)
    full.values<double>()[static_cast<std::size_t>(row[e] * a.columns() + a.column_of_entries()[e])] +=
        values ? values.to(DType::f64).values<double>()[e] : static_cast<double>(a.by_rows().value[e]);
  return full;
}

double difference(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), a.shape().text(), " and ", b.shape().text());
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double most = 0.0;
  for (std::size_t i = 0; i < x.values<double>().size(); ++i)
    most = std::max(most, std::abs(x.values<double>()[i] - y.values<double>()[i]));
  return most;
}

const std::vector<std::int32_t> kRows{3, 0, 7, 1};

}  // namespace

TEST(SparseMatrix, HoldsBothOrders) {
  const SparseMatrix a(2, 3, {0, 3, 4}, {2, 0, 2, 2}, {1, 2, 3, 4});
  EXPECT_EQ(a.entries(), 4);
  EXPECT_EQ(a.by_columns().offset, (std::vector<std::int64_t>{0, 1, 1, 4}));
  EXPECT_EQ(a.by_columns().index, (std::vector<std::int32_t>{0, 0, 0, 1}));
  EXPECT_EQ(a.by_columns().value, (std::vector<float>{2, 1, 3, 4}));
  EXPECT_EQ(a.by_columns().entry, (std::vector<std::int32_t>{1, 0, 2, 3}));
  EXPECT_EQ(a.row_of_entries(), (std::vector<std::int32_t>{0, 0, 0, 1}));
  EXPECT_FALSE(SparseMatrix());
}

TEST(SparseMatrix, TilesHoldLikeWork) {
  std::vector<std::int64_t> offset{0};
  for (int line = 0; line < 3000; ++line) offset.push_back(offset.back() + (line == 7 ? 100000 : line % 50));
  const auto tiles = even_tiles(offset);
  EXPECT_EQ(tiles.front(), 0);
  EXPECT_EQ(tiles.back(), 3000);
  EXPECT_EQ(tiles[1], 8);  // the long line does not share
  for (std::size_t t = 1; t + 1 < tiles.size(); ++t) {
    const std::int64_t work = offset[static_cast<std::size_t>(tiles[t + 1])] -
                              offset[static_cast<std::size_t>(tiles[t])] + tiles[t + 1] - tiles[t];
    EXPECT_LT(work, 4096 + 51);
  }
  EXPECT_EQ(even_tiles(std::vector<std::int64_t>{0}).size(), 1u);
}

TEST(SparseMatrix, RefusesWhatDoesNotFit) {
  EXPECT_EQ(message_of([] {
              SparseMatrix(2, 2, {0, 1}, {0});
            }),
            "sparse_matrix: offset has 2 numbers for 2 rows, expected 3");
  EXPECT_EQ(message_of([] { SparseMatrix(1, 2, {0, 2}, {0, 2}); }), "sparse_matrix: column[1] is 2, expected 0 .. 1");
  EXPECT_EQ(message_of([] { SparseMatrix(1, 2, {0, 2}, {0, 1}, {1.0f}); }), "sparse_matrix: 1 values for 2 entries");
}

TEST(SparseMatmul, GoldenValues) {
  const SparseMatrix a(2, 3, {0, 2, 3}, {2, 0, 1}, {2, 3, -1});
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  const Tensor y = sparse_matmul(a, x);
  const std::vector<float> expected{13, 18, -3, -4};
  EXPECT_EQ(std::vector<float>(y.values<float>().begin(), y.values<float>().end()), expected);
}

TEST(SparseMatmul, EqualsTheDenseProduct) {
  for (const std::int64_t width : {1, 3, 16, 31, 64, 100, 128, 200}) {
    const SparseMatrix a = random_matrix(57, 40, 0.2, 3);
    const Tensor x = random_f64({40, width}, 4), z = random_f64({57, width}, 5), full = dense(a);
    EXPECT_LT(difference(sparse_matmul(a, x), matmul(full, x)), 1e-12);
    EXPECT_LT(difference(sparse_matmul(a, z, true), matmul(full, z, true)), 1e-12);
    EXPECT_LT(difference(sparse_matmul(a, x.to(DType::f32)), matmul(full, x)), 2e-5);
    const Tensor values = random_f64({a.entries()}, 6);
    EXPECT_LT(difference(sparse_matmul(a, values, x), matmul(dense(a, values), x)), 1e-12);
    EXPECT_LT(difference(sparse_matmul(a, values, z, true), matmul(dense(a, values), z, true)), 1e-12);
    EXPECT_LT(difference(sparse_matmul_rows(a, x, kRows), gather_rows(matmul(full, x), kRows)), 1e-12);
    EXPECT_LT(difference(sparse_matmul_rows(a, z, kRows, true), gather_rows(matmul(full, z, true), kRows)), 1e-12);
  }
}

TEST(SparseMatmul, GradientsEqualThoseOfTheDenseProduct) {
  for (const bool many_tiles : {false, true}) {
    const SparseMatrix a = many_tiles ? random_matrix(700, 500, 0.05, 3) : random_matrix(57, 40, 0.2, 3);
    ASSERT_EQ(a.by_rows().tiles.size() > 4, many_tiles);
    std::vector<std::int32_t> rows, columns;
    for (std::int32_t r = 0; r < a.rows(); r += 3) rows.push_back(static_cast<std::int32_t>(a.rows()) - 1 - r);
    for (std::int32_t c = 1; c < a.columns(); c += 4) columns.push_back(c);
    const Tensor full = dense(a);
    for (const bool transpose : {false, true}) {
      const auto& some = transpose ? columns : rows;
      const Tensor x = random_f64({transpose ? a.rows() : a.columns(), 19}, 4);
      const Tensor seed = random_f64({static_cast<std::int64_t>(some.size()), 19}, 5);
      const auto run = [&](const auto& f) {
        Tape tape;
        const Tensor leaf = tape.watch(x), y = f(leaf);
        tape.backward(y, seed);
        return std::pair(y, tape.gradient(leaf));
      };
      const auto dense_rows = run([&](const Tensor& v) { return gather_rows(matmul(full, v, transpose), some); });
      for (const auto& [y, gradient] :
           {run([&](const Tensor& v) { return sparse_matmul_rows(a, v, some, transpose); }),
            run([&](const Tensor& v) { return gather_rows(sparse_matmul(a, v, transpose), some); })}) {
        EXPECT_LT(difference(y, dense_rows.first), 1e-11);
        EXPECT_LT(difference(gradient, dense_rows.second), 1e-11);
      }
    }
  }
}

TEST(SparseMatmul, ABlockIsTheProductWithZerosElsewhere) {
  for (const bool many_tiles : {false, true}) {
    const SparseMatrix a = many_tiles ? random_matrix(700, 500, 0.05, 3) : random_matrix(57, 40, 0.2, 3);
    std::vector<std::int32_t> rows, columns;
    for (std::int32_t r = 0; r < a.rows(); r += 3) rows.push_back(static_cast<std::int32_t>(a.rows()) - 1 - r);
    for (std::int32_t c = 1; c < a.columns(); c += 2) columns.push_back(c);
    for (const bool transpose : {false, true}) {
      const auto &from = transpose ? rows : columns, &to = transpose ? columns : rows;
      std::vector<std::int32_t> place(static_cast<std::size_t>(transpose ? a.rows() : a.columns()), -1);
      for (std::size_t i = 0; i < from.size(); ++i)
        place[static_cast<std::size_t>(from[i])] = static_cast<std::int32_t>(i);
      const Tensor x = random_f64({static_cast<std::int64_t>(from.size()), 19}, 4);
      const Tensor seed = random_f64({static_cast<std::int64_t>(to.size()), 19}, 5);
      const auto run = [&](const auto& f) {
        Tape tape;
        const Tensor leaf = tape.watch(x), y = f(leaf);
        tape.backward(y, seed);
        return std::pair(y, tape.gradient(leaf));
      };
      const auto expected =
          run([&](const Tensor& v) { return gather_rows(matmul(dense(a), embedding(v, place), transpose), to); });
      const auto found = run([&](const Tensor& v) { return sparse_matmul_block(a, v, to, from, transpose); });
      EXPECT_LT(difference(found.first, expected.first), 1e-11);
      EXPECT_LT(difference(found.second, expected.second), 1e-11);
    }
  }
  const SparseMatrix a = random_matrix(20, 20, 0.3, 8);
  EXPECT_EQ(sparse_matmul_block(a, random_f64({2, 3}, 1), {}, std::vector<std::int32_t>{1, 2}).shape(), Shape({0, 3}));
  EXPECT_EQ(difference(sparse_matmul_block(a, random_f64({0, 3}, 1), std::vector<std::int32_t>{1, 2}, {}),
                       Tensor::zeros({2, 3}, DType::f64)),
            0.0);
}

TEST(SparseMatmul, GradientsAddToWhatIsThere) {
  const SparseMatrix a = random_matrix(20, 20, 0.3, 8);
  const Tensor x = random_f64({20, 5}, 4), seed = random_f64({20, 5}, 5);
  Parameter parameter("x", x.clone());
  for (int round = 1; round <= 2; ++round) {
    Tape tape;
    tape.backward(sparse_matmul(a, parameter()), seed);
  }
  const Tensor once = sparse_matmul(a, seed, true);
  for (std::size_t i = 0; i < once.values<double>().size(); ++i)
    EXPECT_NEAR(parameter.gradient.values<double>()[i], 2 * once.values<double>()[i], 1e-12);
}

TEST(SparseMatmulGrad, Gradcheck) {
  const SparseMatrix a = random_matrix(11, 7, 0.4, 2);
  const std::vector<std::int32_t> rows{3, 0, 7, 1}, columns{6, 2};
  for (const std::int64_t width : {1, 5, 17}) {
    const Tensor x = random_f64({7, width}, 1), z = random_f64({11, width}, 2), v = random_f64({a.entries()}, 3);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul(a, in[0]); }, {x}), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul(a, in[0], true); }, {z}), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul(a, in[0], in[1]); }, {v, x}), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul(a, in[0], in[1], true); }, {v, z}), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul_rows(a, in[0], rows); }, {x}), 1e-8);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul_rows(a, in[0], columns, true); }, {z}), 1e-8);
    const Tensor part = random_f64({2, width}, 4);
    EXPECT_LT(gradcheck([&](const auto& in) { return sparse_matmul_block(a, in[0], rows, columns); }, {part}), 1e-8);
  }
}

TEST(SparseMatmul, SameBitsForAnyThreads) {
  const SparseMatrix a = random_matrix(700, 500, 0.05, 2);
  const Tensor x = random_f64({500, 64}, 1).to(DType::f32), seed = random_f64({700, 64}, 2).to(DType::f32);
  const Tensor values = random_f64({a.entries()}, 3).to(DType::f32);
  std::vector<std::int32_t> rows;
  for (std::int32_t r = 699; r >= 0; r -= 3) rows.push_back(r);
  EXPECT_TRUE(same_bits([&] { return sparse_matmul(a, x); }));
  EXPECT_TRUE(same_bits([&] { return sparse_matmul_rows(a, x, rows); }));
  const auto gradient = [&](const auto& f, const Tensor& at, const Tensor& from) {
    return same_bits([&] {
      Tape tape;
      const Tensor leaf = tape.watch(at);
      tape.backward(f(leaf), from);
      return tape.gradient(leaf);
    });
  };
  std::vector<std::int32_t> columns;
  for (std::int32_t c = 0; c < 500; c += 2) columns.push_back(c);
  const auto block = [&](const Tensor& leaf) { return sparse_matmul_block(a, leaf, rows, columns); };
  EXPECT_TRUE(same_bits([&] { return block(x.row_range(0, 250)); }));
  EXPECT_TRUE(gradient(block, x.row_range(0, 250), seed.row_range(0, static_cast<std::int64_t>(rows.size()))));
  EXPECT_TRUE(gradient([&](const Tensor& leaf) { return sparse_matmul(a, leaf); }, x, seed));
  EXPECT_TRUE(gradient([&](const Tensor& leaf) { return sparse_matmul(a, leaf, x); }, values, seed));
  EXPECT_TRUE(gradient([&](const Tensor& leaf) { return sparse_matmul_rows(a, leaf, rows); }, x,
                       seed.row_range(0, static_cast<std::int64_t>(rows.size()))));
}

TEST(SparseMatmul, RefusesWhatDoesNotFit) {
  const SparseMatrix a(2, 3, {0, 1, 1}, {2});
  const std::vector<std::int32_t> twice{1, 1}, large{2};
  EXPECT_EQ(message_of([&] {
              sparse_matmul(a, Tensor({2, 4}));
            }),
            "sparse_matmul: a (2, 3), x (2, 4): expected x (3, width)");
  EXPECT_EQ(message_of([&] {
              sparse_matmul(a, Tensor({3, 4}), true);
            }),
            "sparse_matmul: a (2, 3) transposed, x (3, 4): expected x (2, width)");
  EXPECT_EQ(message_of([&] {
              sparse_matmul(a, Tensor({2}), Tensor({3, 4}));
            }),
            "sparse_matmul: values (2) for 1 entries");
  EXPECT_EQ(message_of([&] {
              sparse_matmul_rows(a, Tensor({3, 4}), twice);
            }),
            "sparse_matmul_rows: row 1 stands twice, at positions 0 and 1");
  EXPECT_EQ(message_of([&] {
              sparse_matmul_rows(a, Tensor({3, 4}), large);
            }),
            "sparse_matmul_rows: row 2 at position 0, expected 0 to 1");
  EXPECT_EQ(message_of([&] {
              sparse_matmul_block(a, Tensor({3, 4}), {}, std::vector<std::int32_t>{0});
            }),
            "sparse_matmul_block: x (3, 4) for 1 columns");
  EXPECT_EQ(message_of([&] { sparse_matmul(SparseMatrix(), Tensor({3, 4})); }), "sparse_matmul: there is no matrix");
}

}  // namespace tessera
