#include <gtest/gtest.h>

#include <array>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/testing.h"
#include "tensor/ops/nearest_code/nearest_code.h"
#include "tensor/ops/product_code/product_code.h"

namespace tessera {
namespace {

Tensor as_tensor(const std::vector<std::int32_t>& code) {
  return Tensor::from<std::int32_t>(code, {static_cast<std::int64_t>(code.size())});
}

Tensor part_of(const Tensor& x, std::int64_t begin, std::int64_t width) {
  Tensor out({x.rows(), width}, x.dtype());
  for (std::int64_t i = 0; i < x.rows(); ++i)
    for (std::int64_t j = 0; j < width; ++j)
      out.data<double>()[i * width + j] = x.data<double>()[i * x.columns() + begin + j];
  return out;
}

// The reference: one search a part.
std::vector<std::int32_t> composed(const Tensor& x, const Tensor& codebooks) {
  const std::int64_t parts = codebooks.dim(0), count = codebooks.dim(1), width = codebooks.dim(2);
  std::vector<std::int32_t> out(static_cast<std::size_t>(x.rows() * parts));
  for (std::int64_t m = 0; m < parts; ++m) {
    const auto codes =
        nearest_code(part_of(x, m * width, width), codebooks.row_range(m, m + 1).reshape({count, width}));
    for (std::size_t i = 0; i < codes.size(); ++i)
      out[i * static_cast<std::size_t>(parts) + static_cast<std::size_t>(m)] = codes[i];
  }
  return out;
}

}  // namespace

TEST(ProductCode, GoldenValues) {
  const Tensor x = Tensor::from<float>({0, 9, 4, 1, 2, 8}, {2, 3}),
               books = Tensor::from<float>({0, 5, 1, 10, 7, 8}, {3, 2, 1});
  const auto codes = nearest_product_codes(x, books);
  EXPECT_EQ(codes, (std::vector<std::int32_t>{0, 1, 0, 0, 0, 1}));
  const Tensor y = decode_product_codes(codes, books);
  EXPECT_EQ(std::vector<float>(y.values<float>().begin(), y.values<float>().end()),
            (std::vector<float>{0, 10, 7, 0, 1, 8}));
  std::vector<std::int64_t> hits;
  const Tensor means = product_code_means(x, codes, books, hits);
  EXPECT_EQ(hits, (std::vector<std::int64_t>{2, 0, 1, 1, 1, 1}));
  EXPECT_EQ(std::vector<float>(means.values<float>().begin(), means.values<float>().end()),
            (std::vector<float>{0.5f, 5, 2, 9, 4, 8}));
}

TEST(ProductCode, EqualsOneSearchAPart) {
  for (const auto& [rows, parts, codes, width] :
       {std::array<std::int64_t, 4>{1, 1, 1, 1}, {7, 3, 5, 2}, {199, 4, 131, 7}, {97, 2, 300, 16}}) {
    const Tensor x = random_f64({rows, parts * width}, 1), books = random_f64({parts, codes, width}, 2);
    const auto expected = composed(x, books);
    EXPECT_EQ(nearest_product_codes(x, books), expected);
    EXPECT_EQ(nearest_product_codes(x.to(DType::f32), books.to(DType::f32)), expected);
  }
}

TEST(ProductCode, TiesGoToTheSmallerCodeAndRowsDoNotSeeEachOther) {
  Tensor books = random_f64({1, 200, 4}, 1);
  for (const std::int64_t copy : {70, 71, 199})
    books.reshape({200, 4}).row_range(copy, copy + 1).copy_from(books.reshape({200, 4}).row_range(5, 6));
  const Tensor x = books.reshape({200, 4});
  const auto all = nearest_product_codes(x, books);
  EXPECT_EQ(all[199], 5);
  for (const std::int64_t row : {0, 3, 150})
    EXPECT_EQ(nearest_product_codes(x.row_range(row, row + 1), books)[0], all[static_cast<std::size_t>(row)]);
}

TEST(ProductCode, MeansOfManyRowsAreExact) {
  const std::int64_t rows = 9000;
  Tensor x({rows, 2});
  for (std::int64_t i = 0; i < rows; ++i) x.data<float>()[2 * i] = 1000.25f, x.data<float>()[2 * i + 1] = 0.125f;
  std::vector<std::int64_t> hits;
  const Tensor means = product_code_means(x, std::vector<std::int32_t>(static_cast<std::size_t>(rows * 2), 0),
                                          Tensor::zeros({2, 1, 1}), hits);
  EXPECT_NEAR(means.data<float>()[0], 1000.25f, 1e-3f);
  EXPECT_EQ(means.data<float>()[1], 0.125f);
}

TEST(ProductCode, MissingPartsAreZeroAndCountNowhere) {
  const Tensor books = Tensor::from<float>({1, 2, 3, 4}, {2, 2, 1}), x = Tensor::from<float>({7, 8}, {1, 2});
  const std::vector<std::int32_t> codes{-1, 1};
  const Tensor y = decode_product_codes(codes, books);
  EXPECT_EQ(y.data<float>()[0], 0.0f);
  EXPECT_EQ(y.data<float>()[1], 4.0f);
  std::vector<std::int64_t> hits;
  EXPECT_EQ(product_code_means(x, codes, books, hits).data<float>()[0], 1.0f);
  EXPECT_EQ(hits, (std::vector<std::int64_t>{0, 0, 0, 1}));
}

TEST(ProductCode, SameBitsForAnyThreads) {
  const Tensor x = random_f64({517, 33}, 1).to(DType::f32), books = random_f64({3, 100, 11}, 2).to(DType::f32);
  EXPECT_TRUE(same_bits([&] { return as_tensor(nearest_product_codes(x, books)); }));
  const auto codes = nearest_product_codes(x, books);
  std::vector<std::int64_t> hits;
  EXPECT_TRUE(same_bits([&] { return product_code_means(x, codes, books, hits); }));
  EXPECT_TRUE(same_bits([&] { return decode_product_codes(codes, books); }));
}

TEST(ProductCode, Refusals) {
  const std::vector<std::int32_t> three{0, 0, 0}, high{0, 4};
  const Tensor books = Tensor::zeros({2, 4, 3});
  std::vector<std::int64_t> hits;
  EXPECT_EQ(message_of([&] {
              nearest_product_codes(Tensor({5, 7}), books);
            }),
            "nearest_product_codes: x (5, 7), codebooks (2, 4, 3), expected (N, D) and (M, K, D / M)");
  EXPECT_EQ(message_of([&] {
              nearest_product_codes(Tensor({5, 7}), Tensor({2, 0, 3}));
            }),
            "nearest_product_codes: codebooks (2, 0, 3), expected (M, K, D / M), none of them 0");
  EXPECT_EQ(message_of([&] { decode_product_codes(three, books); }),
            "decode_product_codes: 3 codes are no multiple of 2 parts");
  EXPECT_EQ(message_of([&] { decode_product_codes(high, books); }), "decode_product_codes: code 4, expected -1 .. 3");
  EXPECT_EQ(message_of([&] {
              product_code_means(Tensor({5, 6}), high, books, hits);
            }),
            "product_code_means: code 4, expected -1 .. 3");
}

}  // namespace tessera
