#include "tensor/ops/norm/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

// The formula in plain loops and f64.
std::vector<double> reference(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& bias, double eps) {
  const std::int64_t n = x.columns();
  std::vector<double> y(static_cast<std::size_t>(x.numel()));
  for (std::int64_t row = 0; row < x.rows(); ++row) {
    const double* a = x.data<double>() + row * n;
    double mean = 0, square = 0;
    if (kind == NormKind::layer)
      for (std::int64_t i = 0; i < n; ++i) mean += a[i] / static_cast<double>(n);
    for (std::int64_t i = 0; i < n; ++i) square += (a[i] - mean) * (a[i] - mean);
    const double deviation =
        kind == NormKind::l2 ? std::max(std::sqrt(square), eps) : std::sqrt(square / static_cast<double>(n) + eps);
    for (std::int64_t i = 0; i < n; ++i)
      y[static_cast<std::size_t>(row * n + i)] =
          (a[i] - mean) / deviation * (gain ? gain.data<double>()[i] : 1.0) + (bias ? bias.data<double>()[i] : 0.0);
  }
  return y;
}

void expect_near(const Tensor& y, const std::vector<double>& expected, double tolerance) {
  const Tensor z = y.to(DType::f64);
  ASSERT_EQ(static_cast<std::size_t>(z.numel()), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(z.values<double>()[i], expected[i], tolerance) << i;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST(Norm, GoldenValues) {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4}, {1, 4}), gain = Tensor::from<double>({1, 1, 2, 2}, {4});
  const Tensor bias = Tensor::from<double>({0, 1, 0, 1}, {4});
  expect_near(layer_norm(x, gain, bias, 1e-5),
              {-1.3416354199689269, 0.55278819334369106, 0.89442361331261788, 3.6832708399378538}, 1e-13);
  expect_near(rms_norm(x, gain, 1e-6), {0.3651483473268884, 0.7302966946537768, 2.1908900839613303, 2.921186778615107},
              1e-13);
  expect_near(l2_normalize(Tensor::from<double>({3, 4, 0, 0}, {2, 2})), {0.6, 0.8, 0, 0}, 1e-15);
}

TEST(Norm, EqualsTheFormula) {
  for (const Shape& shape : {Shape{1, 1}, Shape{7, 3}, Shape{300, 128}, Shape{5, 131}, Shape{2, 3, 17}}) {
    const Tensor x = random_f64(shape, 1, 2.0), gain = random_f64({shape.columns()}, 2),
                 bias = random_f64({shape.columns()}, 3);
    const auto f32 = [](const Tensor& t) { return t.to(DType::f32); };
    const auto layer = reference(NormKind::layer, x, gain, bias, 1e-5),
               rms = reference(NormKind::rms, x, gain, {}, 1e-6), l2 = reference(NormKind::l2, x, {}, {}, 1e-12);
    expect_near(layer_norm(x, gain, bias), layer, 1e-12);
    expect_near(rms_norm(x, gain), rms, 1e-12);
    expect_near(l2_normalize(x), l2, 1e-12);
    expect_near(layer_norm(f32(x), f32(gain), f32(bias)), layer, 2e-5);
    expect_near(rms_norm(f32(x), f32(gain)), rms, 2e-5);
    expect_near(l2_normalize(f32(x)), l2, 2e-6);
  }
}

TEST(NormGrad, Gradcheck) {
  for (const Shape& shape : {Shape{4, 7}, Shape{2, 3, 16}, Shape{5, 1}, Shape{3, 37}}) {
    const Tensor x = random_f64(shape, 1), gain = random_f64({shape.columns()}, 2),
                 bias = random_f64({shape.columns()}, 3);
    EXPECT_LT(gradcheck([](const auto& v) { return layer_norm(v[0], v[1], v[2], 1e-2); }, {x, gain, bias}), 1e-7);
    EXPECT_LT(gradcheck([](const auto& v) { return layer_norm(v[0], v[1], Tensor(), 1e-2); }, {x, gain}), 1e-7);
    EXPECT_LT(gradcheck([](const auto& v) { return rms_norm(v[0], v[1], 1e-2); }, {x, gain}), 1e-7);
    EXPECT_LT(gradcheck([](const auto& v) { return l2_normalize(v[0]); }, {x}), 1e-7);
    EXPECT_LT(gradcheck([](const auto& v) { return l2_normalize(v[0], 100.0); }, {x}), 1e-7);
  }
}

// The gradient of x is added to what is there: two passes leave twice the gradient of one.
TEST(NormGrad, AddsToTheGradientOfItsInput) {
  Parameter x("x", random_f64({3, 5}, 1)), gain("gain", random_f64({5}, 2));
  std::vector<double> once;
  for (int pass = 1; pass <= 2; ++pass) {
    Tape tape;
    tape.backward(rms_norm(x(), gain()), random_f64({3, 5}, 4));
    const auto gradient = x.gradient.values<double>();
    if (pass == 1) once.assign(gradient.begin(), gradient.end());
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(gradient[i], pass * once[i], 1e-14);
  }
}

TEST(Norm, SameBytesForAnyNumberOfThreads) {
  Tensor x({3001, 41}), gain({41}), bias({41}), seed({3001, 41});
  std::uint64_t stream = 0;
  for (Tensor* t : {&x, &gain, &bias, &seed}) fill_normal(*t, 0, 1, 1, ++stream);
  std::vector<float> first;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    Tape tape;
    const Tensor a = tape.watch(x), b = tape.watch(gain), c = tape.watch(bias);
    const Tensor y = layer_norm(a, b, c);
    tape.backward(y, seed);
    std::vector<float> all;
    for (const Tensor& t : {y, tape.gradient(a), tape.gradient(b), tape.gradient(c)})
      all.insert(all.end(), t.values<float>().begin(), t.values<float>().end());
    if (first.empty()) first = all;
    EXPECT_EQ(std::memcmp(first.data(), all.data(), all.size() * sizeof(float)), 0) << n << " threads";
  }
}

TEST(Norm, Refusals) {
  const Tensor x({3, 4}), gain({4});
  EXPECT_EQ(message_of([&] { layer_norm(x, Tensor({5}), {}); }),
            "layer_norm: gain f32 (5), expected f32 (4) for x (3, 4)");
  EXPECT_EQ(message_of([&] { layer_norm(x, gain, Tensor({4}, DType::f64)); }),
            "layer_norm: bias f64 (4), expected f32 (4) for x (3, 4)");
  EXPECT_EQ(message_of([&] { rms_norm(Tensor({3, 0}), gain); }), "rms_norm: x (3, 0) has no columns");
  EXPECT_EQ(message_of([&] { l2_normalize(x, 0.0); }), "l2_normalize: eps 0, expected more than 0");
}

}  // namespace tessera
