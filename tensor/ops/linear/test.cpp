#include "tensor/ops/linear/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

constexpr Activation kAll[] = {Activation::none,    Activation::relu, Activation::gelu,      Activation::silu,
                               Activation::sigmoid, Activation::tanh, Activation::leaky_relu};

double apply(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::relu: return std::max(x, 0.0);
    case Activation::gelu: return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    case Activation::silu: return x / (1.0 + std::exp(-x));
    case Activation::sigmoid: return 1.0 / (1.0 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
    case Activation::leaky_relu: return x > 0.0 ? x : 0.01 * x;
  }
  return 0.0;
}

struct Result {
  Tensor y, dx, dw, db;
};

Result run(const Tensor& x0, const Tensor& w0, const Tensor& b0, Activation activation, const Tensor& dy) {
  Tape tape;
  const Tensor x = tape.watch(x0), w = tape.watch(w0), b = tape.watch(b0);
  const Tensor y = linear(x, w, b, activation);
  tape.backward(y, dy.clone());
  return {y, tape.gradient(x), tape.gradient(w), tape.gradient(b)};
}

// The same from plain products, f64; the slope by central differences.
Result composed(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, const Tensor& dy) {
  Result out;
  Tensor z = matmul(x, w), g = dy.clone();
  out.y = Tensor(z.shape(), DType::f64);
  out.db = Tensor::zeros(b.shape(), DType::f64);
  for (std::int64_t i = 0; i < z.numel(); ++i) {
    const double before = z.data<double>()[i] + b.data<double>()[i % b.numel()];
    out.y.data<double>()[i] = apply(activation, before);
    g.data<double>()[i] *= (apply(activation, before + 1e-6) - apply(activation, before - 1e-6)) / 2e-6;
    out.db.data<double>()[i % b.numel()] += g.data<double>()[i];
  }
  out.dx = matmul(g, w, false, true);
  out.dw = matmul(x, g, true, false);
  return out;
}

double worst(const Tensor& found, const Tensor& expected) {
  const Tensor a = found.to(DType::f64);
  double error = 0.0;
  for (std::int64_t i = 0; i < a.numel(); ++i)
    error = std::max(error, std::abs(a.data<double>()[i] - expected.data<double>()[i]) /
                                (1.0 + std::abs(expected.data<double>()[i])));
  return error;
}

}  // namespace

TEST(Linear, GoldenValues) {
  const Tensor x = Tensor::from<double>({1, -2}, {1, 2}), w = Tensor::from<double>({0.5, 1, -1, 0.25}, {2, 2});
  const Tensor y = linear(x, w, Tensor::from<double>({-2, 0.5}, {2}), Activation::gelu);
  EXPECT_NEAR(y.values<double>()[0], 0.34573123063700656, 1e-15);  // gelu(0.5)
  EXPECT_NEAR(y.values<double>()[1], 0.8413447460685429, 1e-15);   // gelu(1)
}

// Shapes on both ways of the backward pass: parts of rows, and whole products.
TEST(Linear, EqualsComposed) {
  for (const auto& [rows, in, out] :
       {std::array{7, 5, 3}, std::array{1, 1, 1}, std::array{1201, 24, 40}, std::array{300, 130, 600}}) {
    const Tensor x = random_f64({rows, in}, 1), w = random_f64({in, out}, 2, 0.2), b = random_f64({out}, 3);
    const Tensor dy = random_f64({rows, out}, 4);
    for (const Activation activation : kAll) {
      SCOPED_TRACE(testing::Message() << rows << " " << in << " " << out << " " << static_cast<int>(activation));
      const Result expected = composed(x, w, b, activation, dy);
      const Result found = run(x, w, b, activation, dy);
      EXPECT_LT(worst(found.y, expected.y), 1e-12);
      if (activation == Activation::relu || activation == Activation::leaky_relu)
        continue;  // differences across the kink
      EXPECT_LT(worst(found.dx, expected.dx), 1e-7);
      EXPECT_LT(worst(found.dw, expected.dw), 1e-7);
      EXPECT_LT(worst(found.db, expected.db), 1e-7);
      const auto single = [](const Tensor& t) { return t.to(DType::f32); };
      const Result f32 = run(single(x), single(w), single(b), activation, single(dy));
      EXPECT_LT(worst(f32.y, expected.y), 1e-5);
      EXPECT_LT(worst(f32.dx, expected.dx), 1e-4);
      EXPECT_LT(worst(f32.dw, expected.dw), 1e-4);
      EXPECT_LT(worst(f32.db, expected.db), 1e-4);
    }
  }
}

// One tile of the product, many, and parts of a long inner size; both ways of the backward pass.
TEST(AddLinear, EqualsItsParts) {
  for (const auto& [rows, in, out] :
       {std::array{7, 5, 3}, std::array{1201, 24, 40}, std::array{300, 130, 600}, std::array{8, 5000, 4}}) {
    const std::vector<Tensor> inputs{random_f64({rows, out}, 1), random_f64({rows, in}, 2),
                                     random_f64({in, out}, 3, 0.1), random_f64({out}, 4)};
    for (const Activation activation : kAll)
      for (const DType dtype : {DType::f64, DType::f32}) {
        SCOPED_TRACE(testing::Message() << rows << " " << in << " " << out << " " << static_cast<int>(activation));
        const auto both = [&](bool fused) {
          Tape tape;
          std::vector<Tensor> x, found;
          for (const Tensor& input : inputs) x.push_back(tape.watch(input.to(dtype)));
          found.push_back(fused ? add_linear(x[0], x[1], x[2], x[3], activation)
                                : activate(add(x[0], linear(x[1], x[2], x[3])), activation));
          tape.backward(found[0], random_f64({rows, out}, 5).to(dtype));
          for (const Tensor& leaf : x) found.push_back(tape.gradient(leaf));
          return found;
        };
        const auto found = both(true), expected = both(false);
        for (std::size_t k = 0; k < found.size(); ++k)
          EXPECT_LT(worst(found[k], expected[k].to(DType::f64)), dtype == DType::f64 ? 1e-10 : 1e-3) << k;
      }
  }
  const Tensor a = random_f64({3, 2}, 1), before = a.clone();
  add_linear(a, random_f64({3, 4}, 2), random_f64({4, 2}, 3));
  EXPECT_EQ(worst(a, before), 0.0);  // is left as it was
  Tensor given = a.clone();
  const void* numbers = given.raw();
  const Tensor onto = add_linear(std::move(given), random_f64({3, 4}, 2), random_f64({4, 2}, 3));
  EXPECT_EQ(onto.raw(), numbers);
  EXPECT_EQ(worst(onto, add_linear(a, random_f64({3, 4}, 2), random_f64({4, 2}, 3))), 0.0);
}

TEST(LinearGrad, Gradcheck) {
  for (const Activation activation : kAll)
    for (const bool bias : {false, true}) {
      const auto function = [&](const auto& x) { return linear(x[0], x[1], bias ? x[2] : Tensor(), activation); };
      EXPECT_LT(gradcheck(function, {random_f64({2, 3, 5}, 1), random_f64({5, 7}, 2), random_f64({7}, 3)}), 1e-7);
      EXPECT_LT(gradcheck(function, {random_f64({1, 1}, 4), random_f64({1, 1}, 5), random_f64({1}, 6)}), 1e-7);
    }
}

TEST(LinearGrad, OntoASum) {
  for (const Activation activation : kAll) {
    const auto function = [&](const auto& x) { return add_linear(x[0], x[1], x[2], x[3], activation); };
    EXPECT_LT(gradcheck(function, {random_f64({2, 3, 7}, 4), random_f64({2, 3, 5}, 1), random_f64({5, 7}, 2),
                                   random_f64({7}, 3)}),
              1e-7);
  }
  // The same tensor as the sum and as what is mapped.
  EXPECT_LT(gradcheck([](const auto& x) { return add_linear(x[0], x[0], x[1]); },
                      {random_f64({3, 5}, 4), random_f64({5, 5}, 1)}),
            1e-7);
}

TEST(LinearGrad, ContributionsAddUp) {
  const auto twice = [](const auto& x) {
    return linear(linear(x[0], x[1], x[2], Activation::tanh), x[1], x[2], Activation::gelu);
  };
  EXPECT_LT(gradcheck(twice, {random_f64({6, 4}, 1), random_f64({4, 4}, 2), random_f64({4}, 3)}), 1e-7);
}

TEST(LinearGrad, ManyRows) {
  const auto function = [](const auto& x) { return linear(x[0], x[1], x[2], Activation::gelu); };
  EXPECT_LT(gradcheck(function, {random_f64({401, 2}, 1), random_f64({2, 3}, 2), random_f64({3}, 3)}), 1e-7);
}

TEST(Linear, SameBitsForAnyNumberOfThreads) {
  for (const int rows : {100, 3001}) {
    const auto single = [](Shape shape, std::uint64_t seed) { return random_f64(shape, seed).to(DType::f32); };
    const Tensor x = single({rows, 64}, 1), w = single({64, 256}, 2), b = single({256}, 3), dy = single({rows, 256}, 4);
    set_threads(1);
    const Result expected = run(x, w, b, Activation::gelu, dy);
    for (const int n : {2, 3}) {
      set_threads(n);
      const Result found = run(x, w, b, Activation::gelu, dy);
      EXPECT_EQ(std::memcmp(found.y.raw(), expected.y.raw(), expected.y.bytes()), 0);
      EXPECT_EQ(std::memcmp(found.dx.raw(), expected.dx.raw(), expected.dx.bytes()), 0);
      EXPECT_EQ(std::memcmp(found.dw.raw(), expected.dw.raw(), expected.dw.bytes()), 0);
      EXPECT_EQ(std::memcmp(found.db.raw(), expected.db.raw(), expected.db.bytes()), 0);
    }
  }
  set_threads(2);
}

// The same masks and bits as the op of its own: tiles over all columns, over some, and parts of a long inner size.
TEST(AddLinear, DropsAsDropoutDoes) {
  for (const auto& [rows, in, out] :
       {std::array{7, 5, 3}, std::array{1201, 24, 128}, std::array{300, 130, 600}, std::array{8, 5000, 4}})
    for (const Activation activation : {Activation::none, Activation::leaky_relu, Activation::gelu}) {
      SCOPED_TRACE(testing::Message() << rows << " " << in << " " << out << " " << static_cast<int>(activation));
      const Tensor a = random_f64({rows, out}, 1), x = random_f64({rows, in}, 2), w = random_f64({in, out}, 3, 0.1),
                   dy = random_f64({rows, out}, 4);
      const auto both = [&](bool fused) {
        const TrainingScope training(3, 4);
        Tape tape;
        const std::vector<Tensor> v{tape.watch(a), tape.watch(x), tape.watch(w)};
        std::vector<Tensor> found{fused ? add_linear(v[0], v[1], v[2], {}, activation, 0.3)
                                        : dropout(add_linear(v[0], v[1], v[2], {}, activation), 0.3)};
        tape.backward(found[0], dy.clone());
        for (const Tensor& leaf : v) found.push_back(tape.gradient(leaf));
        return found;
      };
      const auto found = both(true), expected = both(false);
      for (std::size_t k = 0; k < found.size(); ++k)
        EXPECT_EQ(std::memcmp(found[k].raw(), expected[k].raw(), expected[k].bytes()), 0) << k;
      EXPECT_EQ(worst(add_linear(a, x, w, {}, activation, 0.3), add_linear(a, x, w, {}, activation)),
                0.0);  // answering
    }
}

TEST(AddLinear, SameBitsForAnyNumberOfThreads) {
  const Tensor a = random_f64({3001, 96}, 1).to(DType::f32), x = random_f64({3001, 64}, 2).to(DType::f32),
               w = random_f64({64, 96}, 3).to(DType::f32);
  std::vector<Tensor> expected;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    Tape tape;
    const TrainingScope training(1, 1);
    const std::vector<Tensor> in{tape.watch(a), tape.watch(x), tape.watch(w)};
    std::vector<Tensor> found{add_linear(in[0], in[1], in[2], {}, Activation::leaky_relu, 0.4)};
    tape.backward(found[0], a.clone());
    for (const Tensor& leaf : in) found.push_back(tape.gradient(leaf));
    if (expected.empty()) expected = found;
    for (std::size_t k = 0; k < found.size(); ++k)
      EXPECT_EQ(std::memcmp(found[k].raw(), expected[k].raw(), expected[k].bytes()), 0) << n << " " << k;
  }
  set_threads(2);
}

TEST(Linear, InferenceGivesTheSameValues) {
  const Tensor x = random_f64({9, 4}, 1), w = random_f64({4, 6}, 2), b = random_f64({6}, 3);
  const Tensor y = linear(x, w, b, Activation::silu);
  EXPECT_EQ(worst(run(x, w, b, Activation::silu, random_f64({9, 6}, 4)).y, y), 0.0);
}

TEST(Linear, NoRows) { EXPECT_EQ(linear(Tensor({0, 4}), Tensor::zeros({4, 6})).shape(), (Shape{0, 6})); }

TEST(Linear, SaysWhatDoesNotFit) {
  try {
    linear(Tensor({32, 64}), Tensor({65, 10}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "linear: inner sizes differ: x (32, 64), w (65, 10): 64 is not 65");
  }
  EXPECT_THROW(linear(Tensor({2, 2}), Tensor({2, 3}), Tensor({2})), Error);
  EXPECT_THROW(linear(Tensor({2, 2}), Tensor({2, 3}, DType::f64)), Error);
  EXPECT_EQ(message_of([] {
              add_linear(Tensor({2, 2}), Tensor({2, 3}), Tensor({3, 4}));
            }),
            "add_linear: a (2, 2) f32 on cpu, expected (2, 4) f32 on cpu as x w");
  EXPECT_EQ(parse_activation("gelu"), Activation::gelu);
  EXPECT_EQ(parse_activation("leaky_relu"), Activation::leaky_relu);
  try {
    parse_activation("swish");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "activation: \"swish\", expected none, relu, gelu, silu, sigmoid, tanh or leaky_relu");
  }
}

}  // namespace tessera
