#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/attention/attention.h"
#include "tensor/ops/attention/reference.h"

namespace tessera {
namespace {

using reference::Offsets;

struct Case {
  std::string name;
  AttentionOptions options;
  std::int64_t dk, dv;
  Offsets q, k;  // the same: self attention where dk = dv
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](std::string name, int heads, AttentionMask mask, double rope, int buckets, std::int64_t dk,
                       std::int64_t dv, Offsets q, Offsets k) {
    AttentionOptions options;
    options.heads = heads;
    options.mask = mask;
    options.rope_base = rope;
    options.max_distance = 11;
    if (buckets > 0) options.relative_bias = random_f64({buckets, heads}, 5);
    all.push_back({std::move(name), options, dk, dv, std::move(q), std::move(k)});
  };
  const auto causal = AttentionMask::causal, both = AttentionMask::bidirectional;
  const Offsets short_ones = reference::random_offsets(9, 7, 1),
                long_ones = reference::offsets({33, 0, 1, 37, 140, 16, 8});
  const Offsets longest = reference::offsets({80, 290});
  const Offsets other = reference::random_offsets(9, 13, 2),
                other_long = reference::offsets({17, 5, 270, 40, 2, 0, 31});
  add("causal", 1, causal, 0, 0, 16, 16, longest, longest);
  add("causal short, odd width", 3, causal, 0, 0, 7, 7, short_ones, short_ones);
  add("bidirectional", 2, both, 0, 0, 32, 32, long_ones, long_ones);
  add("rope", 2, causal, 10000, 0, 32, 32, long_ones, long_ones);
  add("rope, width 10", 1, both, 100, 0, 10, 10, short_ones, short_ones);
  add("bias", 2, causal, 0, 8, 16, 16, long_ones, long_ones);
  add("bias both ways", 3, both, 0, 8, 5, 5, short_ones, short_ones);
  add("rope and bias", 2, causal, 50, 6, 64, 64, long_ones, long_ones);
  add("cross", 2, both, 0, 0, 16, 24, long_ones, other_long);
  add("cross short, rope and bias", 2, both, 20, 12, 6, 3, short_ones, other);
  add("causal with a past", 2, causal, 20, 7, 8, 13, short_ones, other);
  return all;
}

struct Inputs {
  Tensor q, k, v, dy;
};

Inputs inputs_of(const Case& c) {
  const std::int64_t heads = c.options.heads;
  return {random_f64({c.q.back(), heads * c.dk}, 1), random_f64({c.k.back(), heads * c.dk}, 2),
          random_f64({c.k.back(), heads * c.dv}, 3), random_f64({c.q.back(), heads * c.dv}, 4)};
}

void expect_near(const Tensor& found, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_TRUE(found) << what;
  ASSERT_EQ(found.shape(), expected.shape()) << what;
  const Tensor x = found.to(DType::f64);
  double worst = 0;
  for (std::size_t i = 0; i < x.values<double>().size(); ++i)
    worst = std::max(worst, std::abs(x.values<double>()[i] - expected.values<double>()[i]) /
                                std::max(1.0, std::abs(expected.values<double>()[i])));
  EXPECT_LT(worst, tolerance) << what;
}

void compare(const Case& c, DType dtype, double tolerance) {
  const Inputs in = inputs_of(c);
  const auto expected = reference::attention(in.q, in.k, in.v, c.q, c.k, c.options, in.dy);
  Tape tape;
  AttentionOptions options = c.options;
  if (options.relative_bias) options.relative_bias = tape.watch(options.relative_bias.to(dtype));
  const Tensor q = tape.watch(in.q.to(dtype)), k = tape.watch(in.k.to(dtype)), v = tape.watch(in.v.to(dtype));
  const Tensor y = attention(q, k, v, c.q, c.k, options);
  tape.backward(y, in.dy.to(dtype));
  const std::string name = c.name + " " + name_of(dtype);
  expect_near(y, expected.y, tolerance, name + ": y");
  expect_near(tape.gradient(q), expected.dq, tolerance, name + ": dq");
  expect_near(tape.gradient(k), expected.dk, tolerance, name + ": dk");
  expect_near(tape.gradient(v), expected.dv, tolerance, name + ": dv");
  if (options.relative_bias)
    expect_near(tape.gradient(options.relative_bias), expected.dbias, 10 * tolerance, name + ": dbias");
}

// (N, 3 H D) from q, k, v of (N, H D).
Tensor side_by_side(const Tensor& q, const Tensor& k, const Tensor& v) {
  const std::int64_t n = q.columns();
  Tensor qkv({q.rows(), 3 * n}, DType::f64);
  for (std::int64_t i = 0; i < q.rows(); ++i) {
    double* to = qkv.data<double>() + i * 3 * n;
    for (const Tensor* x : {&q, &k, &v}) to = std::copy_n(x->data<double>() + i * n, n, to);
  }
  return qkv;
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

TEST(Attention, GoldenValues) {  // two keys with scores 0 and ln 3: weights 1/4 and 3/4
  AttentionOptions options;
  options.scale = 1.0;
  const Tensor q = Tensor::from<double>({std::log(3.0), 0, std::log(3.0), 0}, {2, 2});
  const Tensor k = Tensor::from<double>({0, 5, 1, 7}, {2, 2}), v = Tensor::from<double>({4, 8, 12, 0}, {2, 2});
  const Offsets offset = {0, 2};
  const Tensor y = attention(q, k, v, offset, offset, options);
  const std::vector<double> causal = {4, 8, 10, 2}, both = {10, 2, 10, 2};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(y.values<double>()[i], causal[i], 1e-14);
  options.mask = AttentionMask::bidirectional;
  const Tensor z = attention(q, k, v, offset, offset, options);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(z.values<double>()[i], both[i], 1e-14);
}

TEST(AttentionGrad, EqualsTheTextbook) {
  for (const Case& c : cases()) {
    compare(c, DType::f64, 1e-12);
    compare(c, DType::f32, 3e-5);
  }
}

TEST(AttentionGrad, SelfAttentionIsAttentionOnItsThreeParts) {
  for (const Case& c : cases()) {
    if (c.dk != c.dv || c.q != c.k) continue;
    const Inputs in = inputs_of(c);
    const auto expected = reference::attention(in.q, in.k, in.v, c.q, c.q, c.options, in.dy);
    Tape tape;
    const Tensor qkv = tape.watch(side_by_side(in.q, in.k, in.v));
    const Tensor y = self_attention(qkv, c.q, c.options);
    tape.backward(y, in.dy);
    expect_near(y, expected.y, 1e-12, c.name);
    expect_near(tape.gradient(qkv), side_by_side(expected.dq, expected.dk, expected.dv), 1e-12, c.name);
  }
}

TEST(AttentionGrad, Gradcheck) {
  const Offsets q_offset = reference::offsets({2, 0, 1, 3}), k_offset = reference::offsets({3, 2, 0, 5});
  for (const auto mask : {AttentionMask::causal, AttentionMask::bidirectional})
    for (const double rope : {0.0, 30.0}) {
      AttentionOptions options;
      options.heads = 2;
      options.mask = mask;
      options.rope_base = rope;
      options.max_distance = 5;
      const auto cross = [&](const auto& x) {
        options.relative_bias = x[3];
        return attention(x[0], x[1], x[2], q_offset, k_offset, options);
      };
      EXPECT_LT(gradcheck(cross, {random_f64({6, 8}, 1), random_f64({10, 8}, 2), random_f64({10, 6}, 3),
                                  random_f64({6, 2}, 4)}),
                1e-7);
      const auto self = [&](const auto& x) {
        options.relative_bias = x[1];
        return self_attention(x[0], q_offset, options);
      };
      EXPECT_LT(gradcheck(self, {random_f64({6, 24}, 5), random_f64({6, 2}, 4)}), 1e-7);
    }
}

TEST(Attention, OnlyWhatIsWantedGetsAGradient) {
  const Case c = cases()[0];
  const Inputs in = inputs_of(c);
  const auto expected = reference::attention(in.q, in.k, in.v, c.q, c.k, c.options, in.dy);
  Tape tape;
  const Tensor v = tape.watch(in.v);
  tape.backward(attention(in.q, in.k, v, c.q, c.k, c.options), in.dy);
  expect_near(tape.gradient(v), expected.dv, 1e-12, "dv alone");
}

TEST(Attention, LargeScoresStayFinite) {
  AttentionOptions options;
  const Tensor x = Tensor::full({40, 48}, 100.0);
  const Tensor y = self_attention(x, reference::offsets({40}), options);
  for (const float v : y.values<float>()) EXPECT_NEAR(v, 100.0f, 1e-3f);
}

TEST(Attention, SameBytesForAnyNumberOfThreads) {
  const Offsets offset = reference::random_offsets(60, 50, 8);
  AttentionOptions options;
  options.heads = 2;
  options.rope_base = 10000;
  std::vector<float> first;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    Tape tape;
    const Tensor qkv = tape.watch(random_f64({offset.back(), 96}, 1).to(DType::f32));
    options.relative_bias = tape.watch(random_f64({8, 2}, 2).to(DType::f32));
    const Tensor y = self_attention(qkv, offset, options);
    tape.backward(y, random_f64(y.shape(), 3).to(DType::f32));
    std::vector<float> all;
    for (const Tensor& t : {y, tape.gradient(qkv), tape.gradient(options.relative_bias)})
      all.insert(all.end(), t.values<float>().begin(), t.values<float>().end());
    if (first.empty()) first = all;
    EXPECT_EQ(std::memcmp(first.data(), all.data(), all.size() * sizeof(float)), 0) << n << " threads";
  }
}

TEST(Attention, RelativeBuckets) {  // the values of T5's own function, 32 buckets, max_distance 128
  const std::vector<std::int64_t> distance = {0, -1, -15, -16, -20, -50, -127, -128, -1000, 3};
  const std::vector<int> one_way = {0, 1, 15, 16, 17, 24, 31, 31, 31, 0};
  for (std::size_t i = 0; i < distance.size(); ++i)
    EXPECT_EQ(relative_bucket(distance[i], false, 32, 128), one_way[i]) << distance[i];
  EXPECT_EQ(relative_bucket(3, true, 32, 128), 19);
  EXPECT_EQ(relative_bucket(-3, true, 32, 128), 3);
  EXPECT_EQ(relative_bucket(-1000, true, 32, 128), 15);
  EXPECT_EQ(relative_bucket(1000, true, 32, 128), 31);
}

TEST(Attention, Refusals) {
  AttentionOptions options;
  options.heads = 2;
  const Tensor qkv({4, 12}), q({4, 8}), k({5, 8}), v({5, 6});
  const Offsets good = {0, 4}, keys = {0, 5}, falls = {0, 5, 4};
  EXPECT_EQ(message_of([&] {
              self_attention(qkv, Offsets{0, 3}, options);
            }),
            "self_attention: the row offsets run from 0 to 3, expected 0 to 4, the number of rows");
  EXPECT_EQ(message_of([&] { self_attention(qkv, falls, options); }),
            "self_attention: the row offsets fall at sequence 1: 5, 4");
  EXPECT_EQ(message_of([&] {
              self_attention(Tensor({4, 13}), good, options);
            }),
            "self_attention: qkv (4, 13) does not divide into 6 heads");
  EXPECT_EQ(message_of([&] {
              attention(q, Tensor({5, 6}), v, good, keys, options);
            }),
            "attention: q (4, 8), k (5, 6): expected the same width");
  EXPECT_EQ(message_of([&] {
              attention(q, k, Tensor({4, 6}), good, keys, options);
            }),
            "attention: k (5, 8), v (4, 6): expected the same number of rows");
  EXPECT_EQ(message_of([&] {
              attention(q, k, v, good, Offsets{0, 2, 5}, options);
            }),
            "attention: 1 query sequences, 2 key sequences");
  options.relative_bias = Tensor({8, 3});
  EXPECT_EQ(message_of([&] { attention(q, k, v, good, keys, options); }),
            "attention: relative bias f32 (8, 3), expected f32 (buckets, 2)");
  options.relative_bias = Tensor();
  options.rope_base = 10;
  EXPECT_EQ(message_of([&] {
              attention(Tensor({4, 6}), Tensor({5, 6}), v, good, keys, options);
            }),
            "attention: rotary positions need an even head width, found 3");
  options.heads = 0;
  EXPECT_EQ(message_of([&] { attention(q, k, v, good, keys, options); }), "attention: 0 heads, expected 1 or more");
}

}  // namespace tessera
