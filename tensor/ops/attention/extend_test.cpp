#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/attention/attention.h"
#include "tensor/ops/attention/reference.h"

namespace tessera {
namespace {

using reference::Offsets;

struct Past {
  Offsets offset = reference::offsets({5, 0, 80, 17});
  std::vector<std::int32_t> row = {2, 0, 2, 3, 1, 2, 0, 2, 2, 2, 2, 2};
  std::int64_t own = 3;
};

Tensor rows_of(const Tensor& x, const std::vector<std::int64_t>& rows) {
  Tensor y({static_cast<std::int64_t>(rows.size()), x.columns()}, x.dtype());
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(x.data<double>() + rows[i] * x.columns(), x.columns(),
                y.data<double>() + static_cast<std::int64_t>(i) * x.columns());
  return y;
}

double distance(const Tensor& a, const Tensor& b) {
  double worst = a.shape() == b.shape() ? 0.0 : 1e9;
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  for (std::size_t i = 0; i < x.values<double>().size() && worst < 1e9; ++i)
    worst = std::max(worst, std::abs(x.values<double>()[i] - y.values<double>()[i]));
  return worst;
}

// Each continuation as a sequence of its own: its history's rows, then its own; attention() with the own rows as
// queries.
Tensor concatenated(const Past& past, const Tensor& q, const Tensor& own_k, const Tensor& own_v, const Tensor& past_k,
                    const Tensor& past_v, std::int64_t queries, const AttentionOptions& options) {
  std::vector<std::int64_t> q_lengths, k_lengths, from_past, order;
  std::vector<double> k, v;
  const auto append = [](std::vector<double>& to, const Tensor& x, std::int64_t begin, std::int64_t end) {
    to.insert(to.end(), x.data<double>() + begin * x.columns(), x.data<double>() + end * x.columns());
  };
  for (std::size_t c = 0; c < past.row.size(); ++c) {
    const auto b = static_cast<std::size_t>(past.row[c]);
    const auto first = static_cast<std::int64_t>(c) * past.own;
    append(k, past_k, past.offset[b], past.offset[b + 1]);
    append(v, past_v, past.offset[b], past.offset[b + 1]);
    append(k, own_k, first, first + past.own);
    append(v, own_v, first, first + past.own);
    k_lengths.push_back(past.offset[b + 1] - past.offset[b] + past.own);
    q_lengths.push_back(queries);
  }
  const Offsets k_offset = reference::offsets(k_lengths);
  return attention(q, Tensor::from(k, {k_offset.back(), own_k.columns()}),
                   Tensor::from(v, {k_offset.back(), own_v.columns()}), reference::offsets(q_lengths), k_offset,
                   options);
}

}  // namespace

TEST(ExtendAttention, EqualsAttentionOnTheWholeSequence) {
  const Past past;
  const auto count = static_cast<std::int64_t>(past.row.size());
  for (const double rope : {0.0, 100.0})
    for (const bool biased : {false, true})
      for (const std::int64_t width : {6, 16, 32}) {
        AttentionOptions options;
        options.heads = 2;
        options.rope_base = rope;
        options.max_distance = 20;
        if (biased) options.relative_bias = random_f64({8, 2}, 9);
        const Tensor past_k = random_f64({past.offset.back(), 2 * width}, 1),
                     past_v = random_f64({past.offset.back(), 10}, 2);
        const Tensor q = random_f64({count * past.own, 2 * width}, 3),
                     own_k = random_f64({count * past.own, 2 * width}, 4);
        const Tensor own_v = random_f64({count * past.own, 10}, 5),
                     turned = rotate_keys(past_k, past.offset, {}, 2, rope);
        const Tensor all = extend_attention(q, own_k, own_v, past.own, turned, past_v, past.offset, past.row, options);
        EXPECT_LT(distance(all, concatenated(past, q, own_k, own_v, past_k, past_v, past.own, options)), 1e-12)
            << rope << biased << width;

        std::vector<std::int64_t> last;
        for (std::int64_t c = 0; c < count; ++c) last.push_back((c + 1) * past.own - 1);
        const Tensor one =
            extend_attention(rows_of(q, last), own_k, own_v, past.own, turned, past_v, past.offset, past.row, options);
        EXPECT_LT(distance(one, rows_of(all, last)), 1e-12);

        AttentionOptions single = options;
        if (biased) single.relative_bias = options.relative_bias.to(DType::f32);
        const auto f32 = [](const Tensor& x) { return x.to(DType::f32); };
        const Tensor fast = extend_attention(f32(q), f32(own_k), f32(own_v), past.own,
                                             rotate_keys(f32(past_k), past.offset, {}, 2, rope), f32(past_v),
                                             past.offset, past.row, single);
        EXPECT_LT(distance(fast, all), 1e-5);
      }
}

TEST(ExtendAttention, ManyContinuationsOfOneHistory) {
  Past past;
  past.offset = {0, 80};
  past.row.assign(131, 0);
  past.own = 2;
  const Tensor past_k = random_f64({80, 32}, 1), past_v = random_f64({80, 32}, 2), q = random_f64({262, 32}, 3);
  const Tensor own_k = random_f64({262, 32}, 4), own_v = random_f64({262, 32}, 5);
  const AttentionOptions options;
  const Tensor y = extend_attention(q, own_k, own_v, 2, past_k, past_v, past.offset, past.row, options);
  EXPECT_LT(distance(y, concatenated(past, q, own_k, own_v, past_k, past_v, 2, options)), 1e-12);
}

TEST(ExtendAttention, SameBytesForAnyNumberOfThreads) {
  const Past past;
  AttentionOptions options;
  options.heads = 2;
  const auto f32 = [](Shape shape, std::uint64_t seed) { return random_f64(shape, seed).to(DType::f32); };
  Tensor first;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    const Tensor y = extend_attention(f32({36, 32}, 1), f32({36, 32}, 2), f32({36, 32}, 3), 3, f32({102, 32}, 4),
                                      f32({102, 32}, 5), past.offset, past.row, options);
    if (!first) first = y;
    EXPECT_EQ(std::memcmp(first.raw(), y.raw(), y.bytes()), 0) << n << " threads";
  }
}

TEST(RotateKeys, KeepsDotProductsOfEqualDistance) {
  const Tensor k = random_f64({2, 8}, 1);
  const Offsets together = {0, 2};
  const std::vector<std::int64_t> start = {7};
  const Tensor near = rotate_keys(k, together, {}, 2, 50.0), far = rotate_keys(k, together, start, 2, 50.0);
  EXPECT_GT(distance(near, far), 0.1);
  for (std::size_t h = 0; h < 2; ++h) {
    double a = 0, b = 0;
    for (std::size_t d = 4 * h; d < 4 * h + 4; ++d) {
      a += near.values<double>()[d] * near.values<double>()[8 + d];
      b += far.values<double>()[d] * far.values<double>()[8 + d];
    }
    EXPECT_NEAR(a, b, 1e-13);
  }
  EXPECT_EQ(rotate_keys(k, together, {}, 2, 0.0).raw(), k.raw());
}

TEST(ExtendAttention, Refusals) {
  const auto message_of = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  AttentionOptions options;
  const Tensor x({4, 8}), past({6, 8});
  const Offsets offset = {0, 6}, two = {0, 2, 6};
  const std::vector<std::int32_t> row = {0, 0}, wrong = {0, 1};
  EXPECT_EQ(message_of([&] { extend_attention(x, x, x, 2, past, past, offset, wrong, options); }),
            "extend_attention: continuation 1 is of history 1, expected 0 to 0");
  EXPECT_EQ(message_of([&] {
              extend_attention(Tensor({3, 8}), x, x, 2, past, past, offset, row, options);
            }),
            "extend_attention: q (3, 8), expected 2 or 4 rows for 2 continuations of 2");
  EXPECT_EQ(message_of([&] { extend_attention(x, x, x, 3, past, past, offset, row, options); }),
            "extend_attention: q (4, 8), expected 2 or 6 rows for 2 continuations of 3");
  EXPECT_EQ(message_of([&] {
              extend_attention(x, x, x, 2, Tensor({6, 4}), past, offset, row, options);
            }),
            "extend_attention: widths differ: q 8, own_k 8, past_k 4; own_v 8, past_v 8");
  const std::vector<std::int64_t> starts = {1};
  EXPECT_EQ(message_of([&] { rotate_keys(past, two, starts, 1, 10.0); }), "rotate_keys: 1 starts for 2 sequences");
}

}  // namespace tessera
