#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "framework/nn/kmeans.h"
#include "framework/nn/residual_quantizer.h"
#include "framework/nn/sinkhorn.h"
#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/nearest_code/nearest_code.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

// `clusters` round clouds far from each other, rows in turn.
Tensor clouds(std::int64_t rows, std::int64_t width, int clusters, double spread, std::uint64_t seed) {
  Tensor centre({clusters, width}), x({rows, width});
  fill_normal(centre, 0.0, 5.0, seed, 1);
  fill_normal(x, 0.0, spread, seed, 2);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      x.data<float>()[i * width + j] += centre.data<float>()[i % clusters * width + j];
  return x;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST(KMeans, FindsCloudsThatLieApart) {
  const Tensor x = clouds(300, 5, 6, 0.1, 1);
  KMeansOptions options;
  options.codes = 6;
  options.restarts = 4;
  const KMeans found = kmeans(x, options, {}, "test");
  for (int c = 0; c < 6; ++c)
    for (int i = c; i < 300; i += 6)
      EXPECT_EQ(found.codes[static_cast<std::size_t>(i)], found.codes[static_cast<std::size_t>(c)]);
  EXPECT_EQ(std::set<std::int32_t>(found.codes.begin(), found.codes.end()).size(), 6u);
  EXPECT_NEAR(found.error, 5 * 0.01, 0.01);
}

TEST(KMeans, SameBitsForAnyNumberOfThreads) {
  const Tensor x = clouds(1111, 19, 30, 2.0, 2);
  KMeansOptions options;
  options.codes = 37;
  options.iterations = 7;
  KMeans first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    for (const double balance : {0.0, 1.2}) {
      options.balance = balance;
      const KMeans found = kmeans(x, options, {}, "test");
      if (balance == 0.0 && count == 1) first = found;
      if (balance == 0.0) {
        EXPECT_TRUE(same_bytes(found.centres, first.centres)) << count;
        EXPECT_EQ(found.codes, first.codes);
      }
    }
  }
  set_threads(1);
}

TEST(KMeans, RoundsLowerTheErrorAndNoCentreStaysEmpty) {
  const Tensor x = clouds(500, 8, 12, 1.0, 3);
  KMeansOptions options;
  options.codes = 40;
  double last = 1e30;
  for (const int rounds : {0, 1, 3, 20}) {
    options.iterations = rounds;
    const KMeans found = kmeans(x, options, {}, "test");
    EXPECT_LE(found.error, last * 1.0001) << rounds;
    last = found.error;
  }
  // From a start with all centres but one far away, the empty ones come back.
  Tensor start = Tensor::full({40, 8}, 1e4);
  std::copy_n(x.data<float>(), 8, start.data<float>());
  options.iterations = 50;
  const KMeans found = kmeans(x, options, {}, "test", start);
  EXPECT_EQ(std::set<std::int32_t>(found.codes.begin(), found.codes.end()).size(), 40u);
}

TEST(KMeans, BalanceBoundsTheLargestCluster) {
  Tensor x = clouds(400, 4, 1, 1.0, 4);
  for (std::int64_t i = 0; i < 360 * 4; ++i) x.data<float>()[i] *= 0.01f;  // nine tenths in one spot
  KMeansOptions options;
  options.codes = 10;
  const auto largest = [&] {
    const auto members = members_of(kmeans(x, options, {}, "test").codes, options.codes);
    std::int64_t top = 0;
    for (std::size_t k = 0; k < 10; ++k) top = std::max(top, members.begin[k + 1] - members.begin[k]);
    return top;
  };
  const auto free = largest();
  options.balance = 1.0;
  EXPECT_LT(largest(), free / 2);
}

TEST(KMeans, LearnsFromASampleAndCodesAll) {
  const Tensor x = clouds(600, 5, 4, 0.1, 5);
  KMeansOptions options;
  options.codes = 4;
  options.sample = 100;
  options.restarts = 4;
  const KMeans found = kmeans(x, options, {}, "test");
  EXPECT_EQ(found.codes, nearest_code(x, found.centres));
  EXPECT_EQ(found.codes.size(), 600u);
}

TEST(KMeans, IdenticalRowsAreNoTrouble) {
  const Tensor x = Tensor::full({20, 3}, 2.0);
  KMeansOptions options;
  options.codes = 5;
  EXPECT_EQ(kmeans(x, options, {}, "test").error, 0.0);
}

TEST(KMeans, ErrorsSayWhat) {
  KMeansOptions options;
  options.codes = 5;
  EXPECT_EQ(error_of([&] {
              kmeans(Tensor::zeros({3, 2}), options, {}, "test");
            }),
            "kmeans: 3 rows for 5 codes, expected at least one row a code; use fewer codes");
  options.balance = 0.5;
  EXPECT_EQ(error_of([&] {
              kmeans(Tensor::zeros({9, 2}), options, {}, "test");
            }),
            "kmeans: balance is 0.5, expected 0 or 1 or more");
  options.balance = 0.0;
  FitContext context;
  context.stop = [] { return true; };
  EXPECT_THROW(kmeans(Tensor::zeros({9, 2}), options, context, "test"), Stopped);
}

TEST(Sinkhorn, SharesTheRowsAmongTheCodes) {
  const Tensor x = clouds(256, 4, 1, 1.0, 6);
  Tensor book({8, 4});
  fill_normal(book, 0.0, 0.3, 7, 0);
  std::fill_n(book.data<float>(), 4, 0.0f);
  const Tensor distances = squared_distances(x, book);
  const auto most = [](const std::vector<std::int32_t>& codes) {
    const auto members = members_of(codes, 8);
    std::int64_t top = 0;
    for (std::size_t k = 0; k < 8; ++k) top = std::max(top, members.begin[k + 1] - members.begin[k]);
    return top;
  };
  std::vector<std::int32_t> first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    const auto codes = sinkhorn_codes(distances, 0.01, 200);
    if (count == 1) first = codes;
    EXPECT_EQ(codes, first);
    EXPECT_LT(2 * most(codes), most(nearest_code(x, book)));
  }
  set_threads(1);
  EXPECT_EQ(error_of([&] { sinkhorn_codes(distances, 0.0); }), "sinkhorn: epsilon is 0, expected more than 0");
}

TEST(Sinkhorn, FarOutliersStayFinite) {
  Tensor distances = Tensor::full({4, 3}, 1.0);
  distances.data<float>()[0] = 1e8f;
  for (const auto code : sinkhorn_codes(distances, 1e-4)) EXPECT_TRUE(code >= 0 && code < 3);
}

namespace {

QuantizerOptions small_options() {
  QuantizerOptions options;
  options.levels = 3;
  options.codes = 7;
  options.width = 5;
  return options;
}

// The same from plain ops, with the codes that the quantiser chose. detach() is the stop-gradient of the formulas.
struct Composed {
  Tensor vectors, loss;
};
Composed composed(const Tensor& z, const Tensor& books, const ResidualQuantizer::Output& chosen,
                  const QuantizerOptions& options) {
  Composed out;
  Tensor r = z, q;
  for (int l = 0; l < options.levels; ++l) {
    std::vector<std::int32_t> rows;
    for (std::int64_t i = 0; i < z.rows(); ++i)
      rows.push_back(l * options.codes + chosen.codes[static_cast<std::size_t>(i * options.levels + l)]);
    const Tensor e = embedding(books, rows);
    const Tensor term =
        add(mean(square(subtract(e, r.detach()))), scale(mean(square(subtract(r, e.detach()))), options.commitment));
    out.loss = l == 0 ? term : add(out.loss, term);
    q = l == 0 ? e : add(q, e);
    r = subtract(r, options.gradient_through_codes ? e : e.detach());
  }
  out.vectors = add(z, subtract(q, z).detach());
  return out;
}

}  // namespace

TEST(ResidualQuantizerGrad, EqualsTheComposedForm) {
  for (const bool through : {false, true}) {
    QuantizerOptions options = small_options();
    options.gradient_through_codes = through;
    ResidualQuantizer quantizer(options);
    quantizer.codebooks().value = random_f64({3, 7, 5}, 11);
    const Tensor value = random_f64({23, 5}, 12), weight = random_f64({23, 5}, 13);

    Tape tape;
    const Tensor z = tape.watch(value);
    const auto out = quantizer.quantize(z);
    tape.backward(add(out.loss, sum(multiply(out.vectors, weight))));
    const Tensor dz = tape.gradient(z), db = quantizer.codebooks().gradient;

    Tape other;
    const Tensor z2 = other.watch(value), books = other.watch(quantizer.codebooks().value.reshape({21, 5}));
    const auto expected = composed(z2, books, out, options);
    other.backward(add(expected.loss, sum(multiply(expected.vectors, weight))));

    EXPECT_NEAR(out.loss.item(), expected.loss.item(), 1e-12);
    for (std::int64_t i = 0; i < value.numel(); ++i) {
      EXPECT_NEAR(out.vectors.data<double>()[i], expected.vectors.data<double>()[i], 1e-12);
      EXPECT_NEAR(dz.data<double>()[i], other.gradient(z2).data<double>()[i], 1e-12);
    }
    for (std::int64_t i = 0; i < db.numel(); ++i)
      EXPECT_NEAR(db.data<double>()[i], other.gradient(books).data<double>()[i], 1e-12) << i;
  }
}

// The rotation trick is linear in z once its directions are held: R z / |z| |q| with R the rotation from z to q, built
// as a matrix.
TEST(ResidualQuantizerGrad, RotationTurnsTheGradientBack) {
  QuantizerOptions options = small_options();
  options.rotation = true;
  options.commitment = 0.0;
  ResidualQuantizer quantizer(options);
  quantizer.codebooks().value = random_f64({3, 7, 5}, 21);
  const Tensor value = random_f64({9, 5}, 22), weight = random_f64({9, 5}, 23);
  Tape tape;
  const Tensor z = tape.watch(value);
  const auto out = quantizer.quantize(z);
  tape.backward(sum(multiply(out.vectors, weight)));
  const Tensor dz = tape.gradient(z);
  for (int i = 0; i < 9; ++i) {
    const double *r = value.data<double>() + 5 * i, *q = out.vectors.data<double>() + 5 * i,
                 *dy = weight.data<double>() + 5 * i;
    double rr = 0, qq = 0, ww = 0;
    for (int j = 0; j < 5; ++j) rr += r[j] * r[j], qq += q[j] * q[j];
    double u[5], v[5], w[5];
    for (int j = 0; j < 5; ++j)
      u[j] = r[j] / std::sqrt(rr), v[j] = q[j] / std::sqrt(qq), w[j] = u[j] + v[j], ww += w[j] * w[j];
    for (int a = 0; a < 5; ++a) {
      double expected = 0, forward = 0;
      for (int b = 0; b < 5; ++b) {  // M = |q|/|r| (I - 2 w w^T / |w|^2 + 2 v u^T)
        const double m_ba = std::sqrt(qq / rr) * ((a == b) - 2 * w[b] * w[a] / ww + 2 * v[b] * u[a]);
        const double m_ab = std::sqrt(qq / rr) * ((a == b) - 2 * w[a] * w[b] / ww + 2 * v[a] * u[b]);
        expected += m_ba * dy[b];
        forward += m_ab * r[b];
      }
      EXPECT_NEAR(dz.data<double>()[5 * i + a], expected, 1e-10);
      EXPECT_NEAR(forward, q[a], 1e-10);  // the matrix does turn z into q
    }
  }
}

TEST(ResidualQuantizer, RotationWithoutADirectionIsStraightThrough) {
  QuantizerOptions options = small_options();
  options.rotation = true;
  options.commitment = 0.0;
  ResidualQuantizer quantizer(options);
  Tape tape;
  const Tensor z = tape.watch(Tensor::zeros({2, 5}));
  tape.backward(sum(quantizer.quantize(z).vectors));
  for (const float g : tape.gradient(z).values<float>()) EXPECT_EQ(g, 1.0f);
}

TEST(ResidualQuantizer, CodesAndVectorsAgree) {
  const Tensor z = clouds(200, 5, 9, 0.5, 8);
  ResidualQuantizer quantizer(small_options());
  KMeansOptions kmeans_options;
  quantizer.seed(z, kmeans_options, {}, "test");
  const auto codes = quantizer.encode(z);
  const auto out = quantizer.quantize(z);
  EXPECT_EQ(codes, out.codes);
  const Tensor q = quantizer.decode(codes, 3);
  double last = 1e30;
  for (int levels = 0; levels <= 3; ++levels) {
    const Tensor part = quantizer.decode(codes, levels);
    double error = 0.0;
    for (std::int64_t i = 0; i < z.numel(); ++i) error += std::pow(z.data<float>()[i] - part.data<float>()[i], 2);
    EXPECT_LT(error, last);
    last = error;
  }
  for (std::int64_t i = 0; i < z.numel(); ++i) EXPECT_NEAR(q.data<float>()[i], out.vectors.data<float>()[i], 1e-5);
  const Tensor distances = quantizer.last_level_distances(z);
  for (std::int64_t i = 0; i < 200; ++i) {
    const float* d = distances.data<float>() + i * 7;
    EXPECT_EQ(std::min_element(d, d + 7) - d, codes[static_cast<std::size_t>(3 * i + 2)]);
  }
  const std::vector<std::int32_t> absent{-1, -1, -1};
  for (const float v : quantizer.decode(absent, 3).values<float>()) EXPECT_EQ(v, 0.0f);
  EXPECT_EQ(error_of([&] {
              quantizer.decode(std::vector<std::int32_t>{0, 9, 0}, 3);
            }),
            "residual_quantizer: code 9, expected -1 .. 6");
  EXPECT_EQ(error_of([&] {
              quantizer.encode(Tensor::zeros({2, 4}));
            }),
            "residual_quantizer: z (2, 4), expected width 5");
}

TEST(ResidualQuantizer, AveragesMoveTowardsTheirRows) {
  QuantizerOptions options = small_options();
  options.levels = 1;
  options.moving_average = true;
  options.decay = 0.5;
  const Tensor z = clouds(210, 5, 7, 0.1, 9);
  ResidualQuantizer quantizer(options);
  KMeansOptions seeds;
  seeds.iterations = 0;
  quantizer.seed(z, seeds, {}, "test");
  const auto error = [&] {
    double sum = 0.0;
    for (const float d : code_distances(z, quantizer.codebook(0), quantizer.encode(z))) sum += d;
    return sum;
  };
  const double before = error();
  for (int i = 0; i < 30; ++i) quantizer.update_averages(quantizer.quantize(z));
  EXPECT_LT(error(), 0.8 * before);
  Tape tape;
  const Tensor watched = tape.watch(z);
  tape.backward(quantizer.quantize(watched).loss);
  EXPECT_FALSE(static_cast<bool>(quantizer.codebooks().gradient));
}

TEST(ResidualQuantizer, RevivesCodesThatNothingUsed) {
  const Tensor z = clouds(100, 5, 9, 0.5, 10);
  ResidualQuantizer quantizer(small_options());
  quantizer.codebooks().value.fill(100.0);
  const auto out = quantizer.quantize(z);
  std::vector<std::int64_t> hits(21, 1);
  hits[3] = hits[20] = 0;
  EXPECT_EQ(quantizer.revive(hits, out, 1, 2), (std::vector<std::int64_t>{3, 20}));
  EXPECT_LT(std::abs(quantizer.codebook(0).data<float>()[3 * 5]), 50.0f);
  EXPECT_EQ(quantizer.codebook(0).data<float>()[0], 100.0f);
}

}  // namespace tessera
