#include "tensor/ops/token_cross/token_cross.h"

#include <gtest/gtest.h>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

struct Case {
  std::int64_t items, tokens, width, layers, rows;
};

std::vector<std::int32_t> random_tokens(const Case& c, bool missing = true) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(c.items * c.tokens));
  Random random(5, 1);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(c.rows + (missing ? 1 : 0))) - (missing ? 1 : 0);
  return ids;
}

std::vector<Tensor> random_inputs(const Case& c) {
  return {random_f64({c.rows, c.width}, 1), random_f64({c.rows, c.width}, 2),
          random_f64({c.layers, c.tokens, c.tokens}, 3, 0.3), random_f64({c.layers, c.width}, 4, 0.3),
          random_f64({c.layers - 1, c.width, c.width}, 5, 0.3)};
}

Tensor fused(const std::vector<Tensor>& x, const std::vector<std::int32_t>& ids) {
  return token_cross({x[0], x[1], x[2], x[3], x[4].numel() > 0 ? x[4] : Tensor()}, ids);
}

// The same from plain ops, with the tokens of all items beside each other: (T, N D).
Tensor composed(const std::vector<Tensor>& x, const std::vector<std::int32_t>& ids) {
  const std::int64_t layers = x[2].dim(0), tokens = x[2].dim(1), width = x[0].dim(1);
  const std::int64_t items = static_cast<std::int64_t>(ids.size()) / tokens;
  std::vector<std::int32_t> turned(ids.size());
  for (std::int64_t i = 0; i < items; ++i)
    for (std::int64_t t = 0; t < tokens; ++t)
      turned[static_cast<std::size_t>(t * items + i)] = ids[static_cast<std::size_t>(i * tokens + t)];
  const auto layer = [&](const Tensor& all, std::int64_t l, std::int64_t rows) {
    std::vector<std::int32_t> at(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < at.size(); ++i)
      at[i] = static_cast<std::int32_t>(l * rows) + static_cast<std::int32_t>(i);
    return gather_rows(all.reshape({all.numel() / all.columns(), all.columns()}), at);
  };
  const Tensor first = embedding(x[0], turned);
  Tensor out = first;
  for (std::int64_t l = 0; l < layers; ++l) {
    const Tensor p = l == 0 ? embedding(x[1], turned) : matmul(out, layer(x[4], l - 1, width));
    const Tensor mixed = matmul(layer(x[2], l, tokens), p.reshape({tokens, items * width})).reshape(first.shape());
    const Tensor ones = Tensor::full({first.rows(), 1}, 1.0, x[0].dtype());
    out = add(multiply(first, add(mixed, matmul(ones, layer(x[3], l, 1)))), out);
  }
  const Tensor sum = matmul(Tensor::full({1, tokens}, 1.0, x[0].dtype()), out.reshape({tokens, items * width}));
  return sum.reshape({items, width});
}

const std::vector<Case> kCases{{1, 1, 1, 1, 2}, {7, 3, 5, 1, 4}, {5, 4, 3, 2, 6}, {90, 8, 4, 3, 9}, {3, 300, 2, 2, 50}};

double distance(const Tensor& a, const Tensor& b) {
  double most = 0.0;
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    most = std::max(most, std::abs(x.data<double>()[i] - y.data<double>()[i]) / (1.0 + std::abs(y.data<double>()[i])));
  return most;
}

}  // namespace

TEST(TokenCross, GoldenValues) {
  // One item, X = (2, 3)', W = 1, A = (1 1; 0 2), b = 1: P = (2, 3), Y = (6, 7), X_1 = (14, 24).
  const std::vector<std::int32_t> ids{0, 1};
  const Tensor table = Tensor::from<float>({2, 3}, {2, 1});
  const Tensor y = token_cross(
      {table, table, Tensor::from<float>({1, 1, 0, 2}, {1, 2, 2}), Tensor::from<float>({1}, {1, 1}), {}}, ids);
  EXPECT_EQ(y.item(), 38.0);
}

TEST(TokenCross, EqualsItsComposedForm) {
  for (const Case& c : kCases) {
    const auto x = random_inputs(c);
    const auto ids = random_tokens(c);
    const Tensor expected = composed(x, ids);
    EXPECT_LT(distance(fused(x, ids), expected), 1e-12);
    std::vector<Tensor> single;
    for (const Tensor& tensor : x) single.push_back(tensor.to(DType::f32));
    EXPECT_LT(distance(fused(single, ids), expected), 1e-4);
  }
  const Case none{0, 3, 2, 1, 4};
  EXPECT_EQ(fused(random_inputs(none), {}).shape(), Shape({0, 2}));
}

TEST(TokenCross, AMissingTokenAddsNothing) {
  const Case c{2, 3, 4, 2, 5};
  const auto x = random_inputs(c);
  const std::vector<std::int32_t> with{0, -1, 2, -1, -1, -1};
  const Tensor y = fused(x, with);
  for (std::int64_t j = 0; j < 4; ++j) EXPECT_EQ(y.data<double>()[4 + j], 0.0);
}

TEST(TokenCrossGrad, GradcheckOfEveryInput) {
  for (const Case& c : {Case{3, 2, 3, 1, 4}, Case{4, 3, 2, 2, 5}, Case{150, 2, 2, 3, 4}}) {
    const auto ids = random_tokens(c);
    EXPECT_LT(gradcheck([&](const auto& x) { return fused(x, ids); }, random_inputs(c)), 1e-7);
    // Every input used twice: gradients are added to, not overwritten.
    EXPECT_LT(gradcheck([&](const auto& x) { return add(fused(x, ids), composed(x, ids)); }, random_inputs(c)), 1e-7);
  }
}

TEST(TokenCross, SameBitsForAnyNumberOfThreads) {
  const Case c{333, 4, 9, 2, 30};
  const auto ids = random_tokens(c);
  std::vector<Tensor> x;
  for (const Tensor& tensor : random_inputs(c)) x.push_back(tensor.to(DType::f32));
  EXPECT_TRUE(same_bits([&] { return fused(x, ids); }));
  for (std::size_t at = 0; at < x.size(); ++at)
    EXPECT_TRUE(same_bits([&] {
      Tape tape;
      std::vector<Tensor> watched;
      for (const Tensor& tensor : x) watched.push_back(tape.watch(tensor));
      const Tensor y = fused(watched, ids);
      tape.backward(y, Tensor::full(y.shape(), 0.37));
      return tape.gradient(watched[at]).clone();
    })) << at;
}

TEST(TokenCross, Refusals) {
  const Case c{2, 3, 4, 2, 5};
  const auto x = random_inputs(c);
  const auto made = [&](TokenCross in, std::vector<std::int32_t> ids) {
    return message_of([&] { token_cross(in, ids); });
  };
  EXPECT_EQ(made({x[0], x[1], x[2], x[3], {}}, {0, 1, 2}), "token_cross: weight (), expected (1, 4, 4)");
  EXPECT_EQ(made({x[0], x[1], x[2], x[3], x[4]}, {0, 1}), "token_cross: 2 tokens are not rows of 3");
  EXPECT_EQ(made({x[0], x[1], x[2], x[3], x[4]}, {0, 1, 5}),
            "token_cross: token 5 at position 2, expected -1 (none) to 4");
  EXPECT_EQ(made({x[0], x[0].reshape({4, 5}), x[2], x[3], x[4]}, {}),
            "token_cross: table (5, 4) and product (4, 5), expected (V, D) both");
  EXPECT_EQ(made({x[0], x[1], x[0], x[3], x[4]}, {}), "token_cross: mix (5, 4), expected (L, T, T)");
  EXPECT_EQ(made({x[0], x[1], x[2], x[0], x[4]}, {}), "token_cross: bias (5, 4), expected (2, 4)");
}

}  // namespace tessera
