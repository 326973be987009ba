#include "framework/nn/contrastive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {
namespace {

double dot(const Tensor& a, std::int64_t i, const Tensor& b, std::int64_t j) {
  double sum = 0.0;
  for (std::int64_t d = 0; d < a.columns(); ++d)
    sum += a.data<double>()[i * a.columns() + d] * b.data<double>()[j * b.columns() + d];
  return sum;
}

Tensor unit_rows(Shape shape, std::uint64_t seed) { return l2_normalize(random_f64(shape, seed)); }

// Determinant by elimination; the matrix is small.
double determinant(std::vector<std::vector<double>> m) {
  double out = 1.0;
  for (std::size_t p = 0; p < m.size(); ++p) {
    out *= m[p][p];
    for (std::size_t i = p + 1; i < m.size(); ++i)
      for (std::size_t j = m.size(); j-- > p;) m[i][j] -= m[i][p] / m[p][p] * m[p][j];
  }
  return out;
}

// The formula of the header, pair by pair.
double volume(const Tensor& anchor, std::int64_t i, const std::vector<Tensor>& others, std::int64_t j) {
  const std::size_t size = others.size() + 1;
  const auto cosine = [&](std::size_t a, std::size_t b) {
    return a == 0 ? dot(anchor, i, others[b - 1], j) : dot(others[a - 1], j, others[b - 1], j);
  };
  std::vector<std::vector<double>> gram(size, std::vector<double>(size, 1.0));
  double against = 0.0;
  for (std::size_t a = 0; a < size; ++a)
    for (std::size_t b = a + 1; b < size; ++b) {
      gram[a][b] = gram[b][a] = std::max(0.0, cosine(a, b));
      against += std::max(0.0, -cosine(a, b));
    }
  return std::sqrt(std::max(0.0, determinant(gram)) + 1e-6) + against;
}

// The rows at an angle from the first axis, in the plane of the first two.
Tensor at_angle(double angle) {
  return Tensor::from(std::vector<double>{std::cos(angle), std::sin(angle), 0.0}, {1, 3});
}

}  // namespace

TEST(Contrastive, InfoNceEqualsItsFormula) {
  const Tensor a = unit_rows({7, 5}, 1), b = unit_rows({7, 5}, 2);
  const std::vector<std::int32_t> first{0, 1, 2, 0, 4, 5, 6}, second{0, 1, 2, 3, 4, 4, 6};
  const Tensor mask = duplicate_mask({first, second}, 7, DType::f64);
  for (const bool masked : {false, true}) {
    double expected = 0.0;
    const auto repeated = [&](std::int64_t i, std::int64_t j) {
      const auto at = [](std::int64_t k) { return static_cast<std::size_t>(k); };
      return masked && i != j && (first[at(i)] == first[at(j)] || second[at(i)] == second[at(j)]);
    };
    for (std::int64_t i = 0; i < 7; ++i) {
      double row = 0.0, column = 0.0;
      for (std::int64_t j = 0; j < 7; ++j) {
        if (repeated(i, j)) continue;
        row += std::exp(dot(a, i, b, j) / 0.3);
        column += std::exp(dot(a, j, b, i) / 0.3);
      }
      expected += (std::log(row) + std::log(column) - 2.0 * dot(a, i, b, i) / 0.3) / 14.0;
    }
    EXPECT_NEAR(info_nce(a, b, 0.3, masked ? mask : Tensor()).item(), expected, 1e-12) << masked;
  }
}

TEST(Contrastive, UniformityIsLeastWhereRowsSpread) {
  const Tensor z = unit_rows({9, 4}, 3);
  double expected = 0.0;
  for (std::int64_t i = 0; i < 9; ++i)
    for (std::int64_t j = 0; j < 9; ++j)
      if (i != j) expected += std::exp(-2.0 * (2.0 - 2.0 * dot(z, i, z, j))) / 72.0;
  EXPECT_NEAR(uniformity(z).item(), std::log(expected), 1e-12);
  EXPECT_NEAR(uniformity(l2_normalize(Tensor::full({5, 4}, 1.0, DType::f64))).item(), 0.0, 1e-12);
}

TEST(Contrastive, VolumesEqualTheDeterminant) {
  const Tensor anchor = unit_rows({6, 5}, 4);
  std::vector<Tensor> others;
  for (std::uint64_t m = 0; m < 3; ++m) {
    // Near the anchor, so that cosines of either sign and true volumes both occur.
    others.push_back(l2_normalize(add(scale(anchor, 0.6), unit_rows({6, 5}, 5 + m))));
    for (const bool transposed : {false, true}) {
      const Tensor v = gram_volumes(anchor, others, transposed);
      for (std::int64_t i = 0; i < 6; ++i)
        for (std::int64_t j = 0; j < 6; ++j)
          EXPECT_NEAR(v.data<double>()[i * 6 + j],
                      transposed ? volume(anchor, j, others, i) : volume(anchor, i, others, j), 1e-9)
              << m << " " << i << " " << j;
    }
  }
}

TEST(Contrastive, VolumeGrowsFromEqualToOpposite) {
  double last = 0.0;
  for (int step = 0; step <= 40; ++step) {
    const double v = gram_volumes(at_angle(0.0), {at_angle(step * 3.14159265 / 40)}).item();
    EXPECT_GT(v, last) << step;
    last = v;
  }
  EXPECT_NEAR(last, 2.0, 1e-3);  // a plain volume would be back at 0 here
}

TEST(ContrastiveGrad, Losses) {
  const Tensor a = random_f64({5, 4}, 8), b = random_f64({5, 4}, 9), c = random_f64({5, 4}, 10);
  const std::vector<std::int32_t> group{0, 1, 0, 3, 4};
  const Tensor mask = duplicate_mask({group}, 5, DType::f64);
  const auto unit = [](const Tensor& x) { return l2_normalize(x); };
  EXPECT_LT(gradcheck([&](const auto& x) { return info_nce(unit(x[0]), unit(x[1]), 0.2, mask); }, {a, b}), 1e-7);
  EXPECT_LT(gradcheck([&](const auto& x) { return uniformity(unit(x[0])); }, {a}), 1e-7);
  EXPECT_LT(gradcheck([&](const auto& x) { return gram_volumes(unit(x[0]), {unit(x[1])}); }, {a, b}), 1e-6);
  EXPECT_LT(gradcheck(
                [&](const auto& x) {
                  return gram_loss(unit(x[0]), {unit(x[1]), unit(x[2])}, 0.5, mask);
                },
                {a, b, c}),
            1e-6);
  EXPECT_LT(gradcheck(
                [&](const auto& x) {
                  return gram_volumes(unit(x[0]), {unit(x[1]), unit(x[2]), unit(x[3])}, true);
                },
                {random_f64({4, 9}, 21), random_f64({4, 9}, 22), random_f64({4, 9}, 23), random_f64({4, 9}, 24)}),
            1e-6);
}

TEST(ContrastiveGrad, StaysFiniteWhereVectorsMeet) {
  for (const double angle : {0.0, 1e-9, 1e-4}) {
    Tape tape;
    const Tensor x = tape.watch(at_angle(angle));
    tape.backward(gram_volumes(at_angle(0.0), {x, at_angle(0.0)}));
    for (const double value : tape.gradient(x).values<double>()) {
      EXPECT_TRUE(std::isfinite(value)) << angle;
      EXPECT_LE(std::abs(value), 1000.0) << angle;
    }
  }
}

TEST(Contrastive, SameBitsForAnyNumberOfThreads) {
  const Tensor a = unit_rows({300, 16}, 11).to(DType::f32), b = unit_rows({300, 16}, 12).to(DType::f32);
  std::vector<float> first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    Tape tape;
    const Tensor x = tape.watch(a);
    tape.backward(add(info_nce(x, b, 0.1), add(gram_loss(x, {b}, 0.1), uniformity(x))));
    const auto gradient = tape.gradient(x).values<float>();
    if (count == 1) first.assign(gradient.begin(), gradient.end());
    EXPECT_EQ(std::memcmp(first.data(), gradient.data(), gradient.size_bytes()), 0) << count;
  }
  set_threads(1);
}

TEST(Contrastive, ErrorsSayWhat) {
  const auto error_of = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  const Tensor a = unit_rows({3, 4}, 1), b = unit_rows({2, 4}, 1);
  EXPECT_EQ(error_of([&] { info_nce(a, b, 0.1); }), "info_nce: rows (3, 4) and (2, 4), expected the same (N, D)");
  EXPECT_EQ(error_of([&] { info_nce(a, a, 0.0); }), "info_nce: temperature is 0, expected more than 0");
  EXPECT_EQ(error_of([&] { gram_volumes(a, {}); }), "gram_volumes: 0 others, expected 1 to 3");
  EXPECT_EQ(error_of([&] { uniformity(a.row_range(0, 1)); }), "uniformity: z (1, 4), expected (N, D) with two rows");
}

}  // namespace tessera
