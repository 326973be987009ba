#include "tensor/gemm/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/backend.h"

namespace tessera {
namespace {

template <class T>
std::vector<T> numbers(std::int64_t count, std::uint64_t stream) {
  Random random(5, stream);
  std::vector<T> out(static_cast<std::size_t>(count));
  for (T& x : out) x = static_cast<T>(random.normal());
  return out;
}

// A product in larger arrays, so that a wrong leading dimension or a write beside C shows.
template <class T>
struct Case {
  Case(GemmShape s, std::int64_t pad) : shape(s) {
    lda = (s.transpose_a ? s.m : s.k) + pad;
    ldb = (s.transpose_b ? s.k : s.n) + pad;
    ldc = s.n + pad;
    a = numbers<T>((s.transpose_a ? s.k : s.m) * lda, 1);
    b = numbers<T>((s.transpose_b ? s.n : s.k) * ldb, 2);
    c = numbers<T>(s.m * ldc, 3);
  }

  std::vector<T> run(T alpha, T beta) const {
    std::vector<T> out = c;
    gemm(shape, alpha, a.data(), lda, b.data(), ldb, beta, out.data(), ldc);
    return out;
  }

  double reference(std::int64_t i, std::int64_t j, double alpha, double beta) const {
    double sum = 0.0;
    for (std::int64_t p = 0; p < shape.k; ++p)
      sum += static_cast<double>(a[static_cast<std::size_t>(shape.transpose_a ? p * lda + i : i * lda + p)]) *
             static_cast<double>(b[static_cast<std::size_t>(shape.transpose_b ? j * ldb + p : p * ldb + j)]);
    return alpha * sum + (beta == 0.0 ? 0.0 : beta * static_cast<double>(c[static_cast<std::size_t>(i * ldc + j)]));
  }

  // The largest error against the plain sum, in units of sqrt(k); padding must be untouched.
  double worst(T alpha, T beta) const {
    const std::vector<T> out = run(alpha, beta);
    double error = 0.0;
    for (std::int64_t i = 0; i < shape.m; ++i)
      for (std::int64_t j = 0; j < ldc; ++j) {
        const auto at = static_cast<std::size_t>(i * ldc + j);
        if (j >= shape.n) EXPECT_EQ(out[at], c[at]);
        else error = std::max(error, std::abs(static_cast<double>(out[at]) - reference(i, j, alpha, beta)));
      }
    return error / std::sqrt(static_cast<double>(std::max<std::int64_t>(shape.k, 1)));
  }

  GemmShape shape;
  std::int64_t lda, ldb, ldc;
  std::vector<T> a, b, c;
};

const std::vector<GemmShape> kShapes = {{false, false, 1, 1, 1},      {false, false, 3, 5, 7},
                                        {false, false, 300, 70, 65},  {false, false, 17, 600, 130},
                                        {false, false, 13, 11, 2500}, {false, false, 1, 129, 64},
                                        {false, false, 129, 1, 64},   {false, false, 64, 96, 128},
                                        {false, false, 48, 49, 33},   {false, false, 66, 83, 1100}};

std::vector<GemmShape> transposed(GemmShape s) {
  std::vector<GemmShape> out;
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) out.push_back({ta, tb, s.m, s.n, s.k});
  return out;
}

class Gemm : public testing::Test {
 protected:
  ~Gemm() override {
    set_threads(2);
    set_gemm_backend(kept_);
  }

 private:
  const std::string kept_ = gemm_backend_name();
};

TEST_F(Gemm, EqualsThePlainSum) {
  for (const std::string& backend : gemm_backends()) {
    set_gemm_backend(backend);
    for (const GemmShape& base : kShapes)
      for (const GemmShape& s : transposed(base)) {
        SCOPED_TRACE(testing::Message() << backend << " " << s.m << " " << s.n << " " << s.k << " " << s.transpose_a
                                        << s.transpose_b);
        EXPECT_LT(Case<float>(s, 3).worst(1.0f, 0.0f), 1e-5);
        EXPECT_LT(Case<float>(s, 0).worst(-0.5f, 1.0f), 1e-5);
        EXPECT_LT(Case<double>(s, 3).worst(1.5, 0.25), 1e-13);
      }
  }
}

TEST_F(Gemm, BetaZeroNeverReadsC) {
  for (const std::string& backend : gemm_backends()) {
    set_gemm_backend(backend);
    for (const std::int64_t k : {0, 8, 4000}) {
      const std::vector<float> a(static_cast<std::size_t>(40 * k), 1.0f), b(static_cast<std::size_t>(30 * k), 1.0f);
      std::vector<float> c(1200, std::numeric_limits<float>::quiet_NaN());
      gemm({false, false, 40, 30, k}, 1.0f, a.data(), std::max<std::int64_t>(k, 1), b.data(), 30, 0.0f, c.data(), 30);
      for (const float x : c) ASSERT_EQ(x, static_cast<float>(k));
    }
  }
}

TEST_F(Gemm, SameBitsForAnyNumberOfThreads) {
  for (const std::string& backend : gemm_backends()) {
    set_gemm_backend(backend);
    for (const GemmShape s : {GemmShape{false, false, 1000, 96, 64}, GemmShape{false, true, 100, 1030, 64},
                              GemmShape{true, false, 64, 64, 20000}, GemmShape{true, false, 128, 512, 5000}}) {
      const Case<float> one(s, 0);
      set_threads(1);
      const std::vector<float> expected = one.run(1.0f, 1.0f);
      for (const int n : {2, 3}) {
        set_threads(n);
        const std::vector<float> found = one.run(1.0f, 1.0f);
        EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0) << s.m << " " << n;
      }
    }
  }
}

TEST_F(Gemm, PlanGivesWorkToThreads) {
  for (const GemmShape s : {GemmShape{false, false, 20480, 512, 128}, GemmShape{true, false, 128, 512, 20480},
                            GemmShape{true, false, 64, 64, 20000}, GemmShape{false, true, 64, 12101, 64},
                            GemmShape{false, false, 1024, 1024, 1024}}) {
    const auto plan = detail::gemm_plan(s.m, s.n, s.k);
    EXPECT_GE(plan.parts * plan.row_tiles * plan.column_tiles, 8);
    EXPECT_GE(plan.tile_m * plan.row_tiles, s.m);
    EXPECT_GE(plan.tile_n * plan.column_tiles, s.n);
    EXPECT_GE(plan.part_k * plan.parts, s.k);
  }
}

TEST_F(Gemm, AutoChoosesWhatIsThere) {
  set_gemm_backend("auto");
  EXPECT_EQ(gemm_backend() == GemmBackend::amx, has_amx());
  EXPECT_TRUE(gemm_backend() != GemmBackend::onednn || has_onednn());
  set_gemm_backend("eigen");
  EXPECT_STREQ(gemm_backend_name(), "eigen");
}

// Numbers cut into three parts for the tiles lose nothing that a product in f32 keeps.
TEST_F(Gemm, TilesAreAsExactAsAnyOther) {
  if (!has_amx()) GTEST_SKIP() << "this processor has no matrix tiles";
  for (const float size : {1e-15f, 1.0f, 1e15f}) {
    Case<float> one({false, false, 64, 64, 1000}, 0);
    for (float& x : one.a) x *= size;
    set_gemm_backend("eigen");
    const double by_eigen = one.worst(1.0f, 0.0f);
    set_gemm_backend("amx");
    EXPECT_LT(one.worst(1.0f, 0.0f), 1.5 * by_eigen) << size;
  }
  Case<float> integers({true, true, 50, 70, 200}, 0);
  for (float& x : integers.a) x = std::round(100.0f * x);
  for (float& x : integers.b) x = std::round(10.0f * x);
  EXPECT_EQ(integers.worst(1.0f, 0.0f), 0.0);
}

TEST_F(Gemm, RefusesUnknownBackend) {
  try {
    set_gemm_backend("mkl");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "run.gemm: \"mkl\", expected \"auto\", \"eigen\", \"onednn\" or \"amx\"");
  }
}

}  // namespace
}  // namespace tessera
