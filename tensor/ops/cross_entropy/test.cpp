#include "tensor/ops/cross_entropy/cross_entropy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/linear/linear.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

std::vector<std::int32_t> targets(std::int64_t rows, std::int64_t classes) {
  Random random(3, 1);
  std::vector<std::int32_t> out(static_cast<std::size_t>(rows));
  for (auto& t : out) t = static_cast<std::int32_t>(random.below(classes + 1)) - 1;
  return out;
}

struct Result {
  Tensor loss, dh, dw, db;
};

template <class F>
Result run(const Tensor& h0, const Tensor& w0, const Tensor& b0, F function) {
  Tape tape;
  const Tensor h = tape.watch(h0), w = tape.watch(w0), b = tape.watch(b0);
  const Tensor loss = function(h, w, b);
  tape.backward(loss, Tensor::full({}, 0.7, h0.dtype()));
  return {loss, tape.gradient(h), tape.gradient(w), tape.gradient(b)};
}

// (K, D) to (D, K), recorded: the identity in place of x.
Tensor transpose(const Tensor& w) {
  Tensor eye = Tensor::zeros({w.dim(1), w.dim(1)}, w.dtype());
  for (std::int64_t i = 0; i < w.dim(1); ++i) eye.data<double>()[i * (w.dim(1) + 1)] = 1.0;
  return matmul(eye, w, false, true);
}

double worst(const Tensor& found, const Tensor& expected) {
  const Tensor a = found.to(DType::f64);
  double error = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i)
    error = std::max(error, std::abs(a.data<double>()[i] - expected.data<double>()[i]));
  return error;
}

struct Case {
  std::int64_t rows, classes, width;
};
// Both ways of the kernel: blocks of classes (one and several, one chunk of rows and several), and parts of rows.
constexpr Case kCases[] = {{5, 7, 3}, {1, 1, 1}, {300, 700, 8}, {130, 9001, 4}, {2051, 33, 5}};

// Every third class or so of each row; the first row has none.
MarkedClasses marks(std::int64_t rows, std::int64_t classes, const Tensor& value) {
  MarkedClasses marked;
  Random random(5, 1);
  marked.offset.push_back(0);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int32_t c = 0; c < classes && i > 0; ++c)
      if (random.below(3) == 0) marked.column.push_back(c);
    marked.offset.push_back(static_cast<std::int64_t>(marked.column.size()));
  }
  marked.value = value;
  return marked;
}

// The same as a matrix (N, K) of value and 0, recorded.
Tensor spread(const MarkedClasses& marked, std::int64_t rows, std::int64_t classes) {
  Tensor ones = Tensor::zeros({rows * classes, 1}, marked.value.dtype());
  for (std::int64_t i = 0; i < rows; ++i)
    for (auto j = marked.offset[static_cast<std::size_t>(i)]; j < marked.offset[static_cast<std::size_t>(i) + 1]; ++j)
      ones.data<double>()[i * classes + marked.column[static_cast<std::size_t>(j)]] = 1.0;
  return matmul(ones, marked.value.reshape({1, 1})).reshape({rows, classes});
}

}  // namespace

TEST(CrossEntropy, MarkedClassesEqualComposed) {
  for (const Case& one_case : kCases)
    for (const double smoothing : {0.0, 0.1}) {
      const std::int64_t rows = one_case.rows, classes = one_case.classes, width = one_case.width;
      SCOPED_TRACE(testing::Message() << rows << " " << classes << " " << width << " " << smoothing);
      const auto t = targets(rows, classes);
      const Tensor h = random_f64({rows, width}, 1), w = random_f64({classes, width}, 2), v = random_f64({1}, 3);
      const auto fused = [&](const Tensor& x, const Tensor& y, const Tensor& z) {
        return linear_cross_entropy(x, y, {}, t, smoothing, marks(x.rows(), classes, z));
      };
      const Result expected = run(h, w, v, [&](const Tensor& x, const Tensor& y, const Tensor& z) {
        return cross_entropy(add(matmul(x, y, false, true), spread(marks(rows, classes, z), rows, classes)), t,
                             smoothing);
      });
      const Result found = run(h, w, v, fused);
      EXPECT_LT(worst(found.loss, expected.loss), 1e-12);
      EXPECT_LT(worst(found.dh, expected.dh), 1e-12);
      EXPECT_LT(worst(found.dw, expected.dw), 1e-12);
      EXPECT_LT(worst(found.db, expected.db), 1e-12);
      set_threads(1);
      const Result one = run(h.to(DType::f32), w.to(DType::f32), v.to(DType::f32), fused);
      set_threads(3);
      const Result three = run(h.to(DType::f32), w.to(DType::f32), v.to(DType::f32), fused);
      set_threads(2);
      EXPECT_LT(worst(one.db, expected.db), 1e-5);
      EXPECT_EQ(one.loss.item(), three.loss.item());
      EXPECT_EQ(std::memcmp(one.dh.raw(), three.dh.raw(), one.dh.bytes()), 0);
      EXPECT_EQ(std::memcmp(one.db.raw(), three.db.raw(), one.db.bytes()), 0);
    }
}

TEST(CrossEntropyGrad, MarkedClasses) {
  const auto t = targets(6, 9);
  const auto function = [&](const auto& x) { return linear_cross_entropy(x[0], x[1], {}, t, 0.1, marks(6, 9, x[2])); };
  EXPECT_LT(gradcheck(function, {random_f64({6, 3}, 1), random_f64({9, 3}, 2), random_f64({1}, 3)}), 1e-8);
}

TEST(CrossEntropy, GoldenValues) {
  const Tensor logits = Tensor::from<double>({1, 2, 3, 1, 2, 3, 9, 9, 9}, {3, 3});
  const std::vector<std::int32_t> target = {2, 0, -1};
  // -log softmax: 0.40760596444438 and 2.40760596444438
  EXPECT_NEAR(cross_entropy(logits, target).item(), 1.40760596444438, 1e-14);
  // a tenth of the weight goes to the mean of all three, 1.40760596444438
  EXPECT_NEAR(cross_entropy(logits, std::vector<std::int32_t>{2, -1, -1}, 0.1).item(),
              0.9 * 0.40760596444438 + 0.1 * 1.40760596444438, 1e-14);
}

TEST(CrossEntropy, NoRowCounts) {
  Tape tape;
  const Tensor x = tape.watch(random_f64({2, 3}, 1));
  const Tensor loss = cross_entropy(x, std::vector<std::int32_t>{-1, -1});
  EXPECT_EQ(loss.item(), 0.0);
  tape.backward(loss);
  for (const double g : tape.gradient(x).values<double>()) EXPECT_EQ(g, 0.0);
}

TEST(CrossEntropy, LargeLogitsStayFinite) {
  const Tensor logits = Tensor::from<float>({1e30f, -1e30f, 0.0f}, {1, 3});
  EXPECT_EQ(cross_entropy(logits, std::vector<std::int32_t>{0}).item(), 0.0);
  EXPECT_TRUE(std::isfinite(cross_entropy(logits, std::vector<std::int32_t>{1}).item()));
}

TEST(CrossEntropyGrad, Gradcheck) {
  for (const double smoothing : {0.0, 0.2})
    for (const auto& [rows, classes] : {std::array{4, 7}, std::array{1, 1}, std::array{13, 2}}) {
      const auto t = targets(rows, classes);
      EXPECT_LT(
          gradcheck([&](const auto& x) { return cross_entropy(x[0], t, smoothing); }, {random_f64({rows, classes}, 1)}),
          1e-8);
    }
}

TEST(CrossEntropyGrad, WithItsProjection) {
  for (const double smoothing : {0.0, 0.2})
    for (const bool bias : {false, true})
      for (const auto& [rows, classes] : {std::array{5, 7}, std::array{1, 3}, std::array{130, 9}}) {
        const auto t = targets(rows, classes);
        const auto function = [&](const auto& x) {
          return linear_cross_entropy(x[0], x[1], bias ? x[2] : Tensor(), t, smoothing);
        };
        EXPECT_LT(
            gradcheck(function, {random_f64({rows, 3}, 1), random_f64({classes, 3}, 2), random_f64({classes}, 3)}),
            1e-8);
      }
}

TEST(CrossEntropy, EqualsComposed) {
  for (const auto& [rows, classes, width] : kCases)
    for (const double smoothing : {0.0, 0.1}) {
      SCOPED_TRACE(testing::Message() << rows << " " << classes << " " << width << " " << smoothing);
      const auto t = targets(rows, classes);
      const Tensor h = random_f64({rows, width}, 1), w = random_f64({classes, width}, 2), b = random_f64({classes}, 3);
      const auto fused = [&](const Tensor& x, const Tensor& y, const Tensor& z) {
        return linear_cross_entropy(x, y, z, t, smoothing);
      };
      const Result expected = run(h, w, b, [&](const Tensor& x, const Tensor& y, const Tensor& z) {
        return cross_entropy(linear(x, transpose(y), z), t, smoothing);
      });
      const Result found = run(h, w, b, fused);
      EXPECT_LT(worst(found.loss, expected.loss), 1e-12);
      EXPECT_LT(worst(found.dh, expected.dh), 1e-12);
      EXPECT_LT(worst(found.dw, expected.dw), 1e-12);
      EXPECT_LT(worst(found.db, expected.db), 1e-12);
      const Result single = run(h.to(DType::f32), w.to(DType::f32), b.to(DType::f32), fused);
      EXPECT_LT(worst(single.loss, expected.loss), 1e-5);
      EXPECT_LT(worst(single.dh, expected.dh), 1e-6);
      EXPECT_LT(worst(single.dw, expected.dw), 1e-6);
      EXPECT_LT(worst(single.db, expected.db), 1e-6);
      EXPECT_EQ(linear_cross_entropy(h, w, b, t, smoothing).item(), found.loss.item());
    }
}

TEST(CrossEntropy, SameBitsForAnyNumberOfThreads) {
  for (const auto& [rows, classes, width] : kCases) {
    const auto t = targets(rows, classes);
    const auto single = [](Shape shape, std::uint64_t seed) { return random_f64(shape, seed).to(DType::f32); };
    const Tensor h = single({rows, width}, 1), w = single({classes, width}, 2), b = single({classes}, 3);
    const auto fused = [&](const Tensor& x, const Tensor& y, const Tensor& z) {
      return linear_cross_entropy(x, y, z, t);
    };
    const auto plain = [&](const Tensor& x, const Tensor& y, const Tensor&) {
      return cross_entropy(matmul(x, y, false, true), t);
    };
    set_threads(1);
    const Result one = run(h, w, b, fused), other = run(h, w, b, plain);
    for (const int n : {2, 3}) {
      set_threads(n);
      const Result found = run(h, w, b, fused), second = run(h, w, b, plain);
      EXPECT_EQ(found.loss.item(), one.loss.item());
      EXPECT_EQ(second.loss.item(), other.loss.item());
      for (const auto& [x, y] : {std::pair{found.dh, one.dh}, std::pair{found.dw, one.dw}, std::pair{found.db, one.db},
                                 std::pair{second.dh, other.dh}, std::pair{second.dw, other.dw}})
        EXPECT_EQ(std::memcmp(x.raw(), y.raw(), y.bytes()), 0);
    }
  }
  set_threads(2);
}

TEST(CrossEntropy, NoRows) {
  EXPECT_EQ(cross_entropy(Tensor({0, 3}), {}).item(), 0.0);
  Tape tape;
  const Tensor h = tape.watch(Tensor({0, 4})), w = tape.watch(Tensor::zeros({3, 4}));
  const Tensor loss = linear_cross_entropy(h, w, {}, {});
  tape.backward(loss);
  for (const float g : tape.gradient(w).values<float>()) EXPECT_EQ(g, 0.0f);
}

TEST(CrossEntropy, SaysWhatDoesNotFit) {
  const std::vector<std::int32_t> target = {0, 3};
  try {
    cross_entropy(Tensor::zeros({2, 3}), target);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "cross_entropy: target 3 at row 1, expected -1 .. 2");
  }
  EXPECT_THROW(cross_entropy(Tensor::zeros({3, 3}), target), Error);
  EXPECT_THROW(cross_entropy(Tensor::zeros({2, 9}), target, 1.0), Error);
  EXPECT_THROW(linear_cross_entropy(Tensor::zeros({2, 4}), Tensor::zeros({9, 5}), {}, target), Error);
  EXPECT_THROW(linear_cross_entropy(Tensor::zeros({2, 4}), Tensor::zeros({9, 4}), Tensor::zeros({8}), target), Error);
  const auto marked = [&](std::vector<std::int32_t> column) {
    return linear_cross_entropy(Tensor::zeros({2, 4}), Tensor::zeros({9, 4}), {}, target, 0.0,
                                {{0, 1, static_cast<std::int64_t>(column.size())}, column, Tensor::zeros({1})});
  };
  EXPECT_NO_THROW(marked({1, 0, 8}));
  EXPECT_THROW(marked({1, 8, 8}), Error);
  EXPECT_THROW(marked({1, 0, 9}), Error);
  EXPECT_THROW(marked({-1, 0, 8}), Error);
}

}  // namespace tessera
