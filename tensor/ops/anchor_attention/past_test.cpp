#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/anchor_attention/reference.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

using Kind = BlockPositions::Kind;
using reference::Offsets;

AnchorOptions options_of(AnchorMask mask, Kind kind = Kind::hierarchical, bool anchors_only = false) {
  AnchorOptions options;
  options.heads = 2;
  options.block = 5;
  options.mask = mask;
  options.positions.kind = kind;
  options.anchors_only = anchors_only;
  return options;
}

constexpr AnchorMask kMasks[] = {AnchorMask::base, AnchorMask::both_ways, AnchorMask::local_anchors,
                                 AnchorMask::own_block, AnchorMask::full};

double largest(const Tensor& a, const Tensor& b) {
  check(a.shape() == b.shape(), "shapes ", a.shape().text(), " and ", b.shape().text());
  const Tensor x = a.to(DType::f64), y = b.to(DType::f64);
  double most = 0;
  for (std::size_t i = 0; i < x.values<double>().size(); ++i)
    most = std::max(most, std::abs(x.values<double>()[i] - y.values<double>()[i]));
  return most;
}

// Rows of whole blocks.
Tensor blocks_of(const Tensor& x, const std::vector<std::int32_t>& blocks, std::int64_t rows) {
  std::vector<std::int32_t> all;
  for (const auto b : blocks)
    for (std::int64_t r = 0; r < rows; ++r) all.push_back(static_cast<std::int32_t>(b * rows + r));
  return gather_rows(x, all);
}

}  // namespace

// Every block of a history, alone over what was remembered of those before it, gives what the whole pass gives.
TEST(AnchorAttentionPast, EqualsTheWholeHistory) {
  for (const AnchorMask mask : kMasks)
    for (const auto kind : {Kind::hierarchical, Kind::one_ladder, Kind::flat, Kind::none})
      for (const bool anchors_only : {false, true})
        for (const auto dtype : {DType::f64, DType::f32}) {
          const AnchorOptions options = options_of(mask, kind, anchors_only);
          const Offsets offset = reference::offsets({9, 0, 1, 290, 20});
          const Tensor qkv = random_f64({320 * 5, 96}, 1).to(dtype), anchors = random_f64({320, 64}, 2).to(dtype);
          const Tensor whole = anchor_attention(qkv, offset, anchors, options);
          const Tensor past = remembered_rows(qkv, offset, {}, anchors, options);
          std::vector<std::int32_t> blocks, row;
          std::vector<std::int64_t> seen;
          for (std::int32_t b = 0; b < 5; ++b)
            for (std::int64_t i = offset[static_cast<std::size_t>(b) + 1] - 1; i >= offset[static_cast<std::size_t>(b)];
                 i -= 3) {
              blocks.push_back(static_cast<std::int32_t>(i));
              row.push_back(b);
              seen.push_back(i - offset[static_cast<std::size_t>(b)]);
            }
          const Tensor alone = anchor_attention_past(blocks_of(qkv, blocks, 5), past, offset, row, seen, options);
          EXPECT_LT(largest(alone, blocks_of(whole, blocks, anchors_only ? 1 : 5)), dtype == DType::f64 ? 1e-12 : 1e-5)
              << static_cast<int>(mask) << " " << static_cast<int>(kind);
        }
}

TEST(AnchorAttentionPast, ItemsMayStartLater) {
  const AnchorOptions options = options_of(AnchorMask::base);
  const Tensor qkv = random_f64({35, 96}, 1);
  const Tensor all = remembered_rows(qkv, Offsets{0, 7}, {}, {}, options);
  const Tensor tail = remembered_rows(qkv.row_range(15, 35), Offsets{0, 4}, std::vector<std::int64_t>{3}, {}, options);
  EXPECT_EQ(largest(tail, all.row_range(3, 7)), 0.0);
}

TEST(AnchorAttentionPast, AnchorsAloneAreEnough) {
  const AnchorOptions options = options_of(AnchorMask::base);
  const Tensor qkv = random_f64({35, 96}, 1), anchors = random_f64({7, 64}, 2);
  EXPECT_EQ(largest(remembered_rows({}, Offsets{0, 7}, {}, anchors, options),
                    remembered_rows(qkv, Offsets{0, 7}, {}, anchors, options)),
            0.0);
}

// Any subset of the candidates, in any order, among any others: the same bytes.
TEST(AnchorAttentionPast, ACandidateDoesNotKnowTheOthers) {
  for (const AnchorMask mask : kMasks)
    for (const auto dtype : {DType::f32, DType::f64})
      for (const bool anchors_only : {false, true}) {
        const AnchorOptions options = options_of(mask, Kind::hierarchical, anchors_only);
        const Offsets offset = reference::offsets({37, 0, 270});
        const Tensor past = random_f64({307 * options.far_rows(), 64}, 1).to(dtype),
                     qkv = random_f64({100 * 5, 96}, 2).to(dtype);
        std::vector<std::int32_t> row;
        std::vector<std::int64_t> seen;
        for (std::int32_t c = 0; c < 100; ++c) {
          row.push_back(c % 3);
          seen.push_back(offset[static_cast<std::size_t>(c % 3) + 1] - offset[static_cast<std::size_t>(c % 3)]);
        }
        const Tensor together = anchor_attention_past(qkv, past, offset, row, seen, options);
        const std::size_t bytes = together.bytes() / 100;
        Random random(3, 3);
        for (int round = 0; round < 20; ++round) {
          std::vector<std::int32_t> some, some_row;
          std::vector<std::int64_t> some_seen;
          for (std::int64_t i = 1 + random.below(30); i > 0; --i) {
            some.push_back(static_cast<std::int32_t>(random.below(100)));
            some_row.push_back(row[static_cast<std::size_t>(some.back())]);
            some_seen.push_back(seen[static_cast<std::size_t>(some.back())]);
          }
          const Tensor apart =
              anchor_attention_past(blocks_of(qkv, some, 5), past, offset, some_row, some_seen, options);
          for (std::size_t c = 0; c < some.size(); ++c)
            EXPECT_EQ(std::memcmp(static_cast<const char*>(apart.raw()) + c * bytes,
                                  static_cast<const char*>(together.raw()) + static_cast<std::size_t>(some[c]) * bytes,
                                  bytes),
                      0)
                << static_cast<int>(mask) << " candidate " << some[c];
        }
      }
}

TEST(AnchorAttentionPast, TheSameBitsForAnyNumberOfThreads) {
  const AnchorOptions options = options_of(AnchorMask::base);
  const Tensor past = random_f64({300, 64}, 1).to(DType::f32), qkv = random_f64({500, 96}, 2).to(DType::f32);
  const std::vector<std::int32_t> row(100, 0);
  const std::vector<std::int64_t> seen(100, 300);
  EXPECT_TRUE(same_bits([&] { return anchor_attention_past(qkv, past, Offsets{0, 300}, row, seen, options); }));
}

TEST(AnchorAttentionPast, NoCandidates) {
  const AnchorOptions options = options_of(AnchorMask::base);
  const Tensor y = anchor_attention_past(Tensor({0, 96}), Tensor({4, 64}), Offsets{0, 4}, {}, {}, options);
  EXPECT_EQ(y.shape(), Shape({0, 32}));
}

TEST(AnchorAttentionPast, Refusals) {
  const AnchorOptions options = options_of(AnchorMask::base);
  const auto message = [&](const Tensor& qkv, const Tensor& past, Offsets offset, std::vector<std::int32_t> row,
                           std::vector<std::int64_t> seen) {
    return message_of([&] { anchor_attention_past(qkv, past, offset, row, seen, options); });
  };
  EXPECT_EQ(message(Tensor({10, 96}), Tensor({4, 64}), {0, 4}, {0}, {4}),
            "anchor_attention_past: qkv (10, 96), expected 5 rows for 1 blocks");
  EXPECT_EQ(message(Tensor({5, 96}), Tensor({4, 96}), {0, 4}, {0}, {4}),
            "anchor_attention_past: past f32 (4, 96), expected f32 (rows, 64)");
  EXPECT_EQ(message(Tensor({5, 96}), Tensor({4, 64}), {0, 4}, {1}, {4}),
            "anchor_attention_past: block 0 is of history 1, expected 0 to 0");
  EXPECT_EQ(message(Tensor({5, 96}), Tensor({4, 64}), {0, 4}, {0}, {5}),
            "anchor_attention_past: block 0 sees 5 items, history 0 has 4");
  EXPECT_EQ(message_of([&] {
              remembered_rows(Tensor({5, 96}), Offsets{0, 1}, std::vector<std::int64_t>{0, 0}, {}, options);
            }),
            "remembered_rows: 2 starts for 1 sequences");
}

}  // namespace tessera
