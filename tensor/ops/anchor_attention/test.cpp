#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/testing.h"
#include "tensor/ops/anchor_attention/reference.h"

namespace tessera {
namespace {

using Kind = BlockPositions::Kind;
using reference::Offsets;

struct Case {
  std::string name;
  AnchorOptions options;
  std::int64_t width;
  Offsets offset;
  bool anchors;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](std::string name, int heads, int block, AnchorMask mask, Kind kind, std::int64_t width,
                       std::vector<std::int64_t> lengths, bool anchors, bool anchors_only = false) {
    AnchorOptions options;
    options.heads = heads;
    options.block = block;
    options.mask = mask;
    options.positions.kind = kind;
    options.anchors_only = anchors_only;
    all.push_back({std::move(name), options, width, reference::offsets(lengths), anchors});
  };
  const std::vector<std::int64_t> jagged = {4, 0, 1, 17, 9, 2}, longer = {41, 0, 1, 90};
  add("base", 2, 5, AnchorMask::base, Kind::hierarchical, 32, longer, true);
  add("base, own anchors", 2, 5, AnchorMask::base, Kind::hierarchical, 16, jagged, false);
  add("base, 300 items", 1, 3, AnchorMask::base, Kind::hierarchical, 16, {300, 257}, true);
  add("one ladder, width 12", 3, 4, AnchorMask::base, Kind::one_ladder, 12, jagged, true);
  add("flat, width 10", 1, 4, AnchorMask::base, Kind::flat, 10, jagged, true);
  add("no positions, width 7", 2, 5, AnchorMask::base, Kind::none, 7, jagged, true);
  add("both ways", 2, 5, AnchorMask::both_ways, Kind::hierarchical, 16, longer, true);
  add("local anchors", 2, 5, AnchorMask::local_anchors, Kind::hierarchical, 16, longer, true);
  add("own block", 2, 5, AnchorMask::own_block, Kind::hierarchical, 16, jagged, false);
  add("full", 2, 5, AnchorMask::full, Kind::hierarchical, 32, longer, false);
  add("full, anchors apart", 2, 4, AnchorMask::full, Kind::hierarchical, 16, longer, true);
  add("blocks of one", 2, 1, AnchorMask::base, Kind::hierarchical, 8, jagged, true);
  add("blocks of 12", 1, 12, AnchorMask::base, Kind::hierarchical, 8, jagged, true);
  add("anchors ask", 2, 5, AnchorMask::base, Kind::hierarchical, 32, longer, true, true);
  add("anchors ask, both ways", 1, 4, AnchorMask::both_ways, Kind::hierarchical, 8, jagged, false, true);
  add("anchors ask, full", 1, 4, AnchorMask::full, Kind::hierarchical, 8, longer, true, true);
  add("anchors ask, local", 1, 4, AnchorMask::local_anchors, Kind::one_ladder, 8, jagged, true, true);
  return all;
}

struct Inputs {
  Tensor qkv, anchors, dy;
};

Inputs inputs_of(const Case& c) {
  const std::int64_t inner = c.options.heads * c.width, blocks = c.offset.back();
  return {random_f64({blocks * c.options.block, 3 * inner}, 1),
          c.anchors ? random_f64({blocks, 2 * inner}, 2) : Tensor(),
          random_f64({blocks * (c.options.anchors_only ? 1 : c.options.block), inner}, 3)};
}

double worst(const Tensor& found, const Tensor& expected) {
  check(found.shape() == expected.shape(), "shapes ", found.shape().text(), " and ", expected.shape().text());
  const Tensor x = found.to(DType::f64);
  double most = 0;
  for (std::size_t i = 0; i < x.values<double>().size(); ++i) {
    const double e = expected.values<double>()[i], gap = std::abs(x.values<double>()[i] - e);
    most = gap == gap ? std::max(most, gap / std::max(1.0, std::abs(e))) : 1e300;
  }
  return most;
}

void compare(const Case& c, const Inputs& in, const reference::BlockGradients& expected, DType dtype,
             double tolerance) {
  Tape tape;
  const Tensor qkv = tape.watch(in.qkv.to(dtype)), anchors = c.anchors ? tape.watch(in.anchors.to(dtype)) : Tensor();
  const Tensor y = anchor_attention(qkv, c.offset, anchors, c.options);
  tape.backward(y, in.dy.to(dtype));
  const std::string name = c.name + " " + name_of(dtype);
  EXPECT_LT(worst(y, expected.y), tolerance) << name << ": y";
  EXPECT_LT(worst(tape.gradient(qkv), expected.dqkv), 3 * tolerance) << name << ": dqkv";
  if (c.anchors) {
    EXPECT_LT(worst(tape.gradient(anchors), expected.danchors), 3 * tolerance) << name << ": danchors";
  }
}

}  // namespace

TEST(AnchorAttentionGrad, EqualsADenseMask) {
  for (const Case& c : cases()) {
    const Inputs in = inputs_of(c);
    const auto expected = reference::anchor_attention(in.qkv, c.offset, in.anchors, c.options, in.dy);
    compare(c, in, expected, DType::f64, 1e-12);
    compare(c, in, expected, DType::f32, 1e-5);
  }
}

TEST(AnchorAttention, GoldenValues) {  // blocks of a token and an anchor; scores 0 and ln 3 by hand
  AnchorOptions options;
  options.scale = 1.0;
  options.positions.kind = Kind::none;
  const double a = std::log(3.0);
  // Item 0: token k 0 v 4, anchor k 1 v 12. Item 1: token k 0 v 8, anchor k 0 v 0. Every query is ln 3.
  const Tensor qkv = Tensor::from<double>({a, 0, 4, a, 1, 12, a, 0, 8, a, 0, 0}, {4, 3});
  const Tensor y = anchor_attention(qkv, Offsets{0, 2}, {}, options);
  const std::vector<double> expected = {4, 0.25 * 4 + 0.75 * 12, 0.75 * 12 + 0.25 * 8, 0.6 * 12 + 0.2 * 8};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(y.values<double>()[i], expected[i], 1e-14) << i;
  // What later blocks see of the first anchor: k 0, v 100.
  const Tensor z = anchor_attention(qkv, Offsets{0, 2}, Tensor::from<double>({0, 100, 5, 5}, {2, 2}), options);
  EXPECT_NEAR(z.values<double>()[1], expected[1], 1e-14);
  EXPECT_NEAR(z.values<double>()[2], 54, 1e-12);
}

TEST(AnchorAttentionGrad, Gradcheck) {
  const Offsets offset = reference::offsets({3, 0, 1, 2});
  for (const auto mask :
       {AnchorMask::base, AnchorMask::both_ways, AnchorMask::local_anchors, AnchorMask::own_block, AnchorMask::full})
    for (const auto kind : {Kind::hierarchical, Kind::one_ladder, Kind::flat, Kind::none})
      for (const bool anchors_only : {false, true}) {
        AnchorOptions options;
        options.heads = 2;
        options.block = 3;
        options.mask = mask;
        options.positions.kind = kind;
        options.anchors_only = anchors_only;
        EXPECT_LT(gradcheck([&](const auto& x) { return anchor_attention(x[0], offset, x[1], options); },
                            {random_f64({18, 24}, 1), random_f64({6, 16}, 2)}),
                  1e-7);
      }
}

// Scores depend on the item gap and on the slot gap alone: all items, or all slots, moved by k give the same results.
TEST(AnchorAttention, OnlyGapsOfPositionsCount) {
  for (const auto kind : {Kind::hierarchical, Kind::one_ladder, Kind::flat}) {
    AnchorOptions options;
    options.heads = 2;
    options.block = 4;
    options.positions.kind = kind;
    const Offsets offset = {0, 7};
    const Tensor qkv = random_f64({28, 96}, 1), anchors = random_f64({7, 64}, 2);
    const Tensor y = anchor_attention(qkv, offset, anchors, options);
    for (const std::int64_t shift : {1, 5, 40}) {
      EXPECT_LT(worst(y, reference::anchor_attention(qkv, offset, anchors, options, y, shift, 0).y), 1e-12) << shift;
      EXPECT_LT(worst(y, reference::anchor_attention(qkv, offset, anchors, options, y, 0, shift).y), 1e-12) << shift;
    }
    options.positions.item_base = 50;
    EXPECT_GT(worst(y, anchor_attention(qkv, offset, anchors, options)), 1e-3);
  }
}

TEST(AnchorAttention, TheSameBitsForAnyNumberOfThreads) {
  for (const Case& c : cases()) {
    const Inputs in = inputs_of(c);
    EXPECT_TRUE(same_bits([&] {
      Tape tape;
      const Tensor qkv = tape.watch(in.qkv.to(DType::f32)),
                   anchors = c.anchors ? tape.watch(in.anchors.to(DType::f32)) : Tensor();
      tape.backward(anchor_attention(qkv, c.offset, anchors, c.options), in.dy.to(DType::f32));
      return tape.gradient(c.anchors ? anchors : qkv);
    })) << c.name;
    EXPECT_TRUE(same_bits([&] {
      return anchor_attention(in.qkv.to(DType::f32), c.offset, c.anchors ? in.anchors.to(DType::f32) : Tensor(),
                              c.options);
    })) << c.name;
  }
}

TEST(AnchorAttention, LargeScoresStayFinite) {
  AnchorOptions options;
  options.block = 5;
  const Tensor y = anchor_attention(Tensor::full({400, 48}, 100.0), reference::offsets({80}), {}, options);
  for (const float v : y.values<float>()) EXPECT_NEAR(v, 100.0f, 1e-3f);
}

TEST(AnchorAttention, NoBlocks) {
  AnchorOptions options;
  EXPECT_EQ(anchor_attention(Tensor({0, 12}), Offsets{0, 0, 0}, {}, options).rows(), 0);
}

TEST(AnchorAttention, Refusals) {
  AnchorOptions options;
  options.heads = 2;
  const auto message = [&](const Tensor& qkv, Offsets offset, const Tensor& anchors = {}) {
    return message_of([&] { anchor_attention(qkv, offset, anchors, options); });
  };
  EXPECT_EQ(message(Tensor({5, 24}), {0, 2}), "anchor_attention: qkv (5, 24) does not divide into blocks of 2 rows");
  EXPECT_EQ(message(Tensor({4, 25}), {0, 2}), "anchor_attention: qkv (4, 25), expected (rows, 3*H*Dk)");
  EXPECT_EQ(message(Tensor({4, 9}), {0, 2}), "anchor_attention: 3 columns do not divide into 2 heads");
  EXPECT_EQ(message(Tensor({4, 24}), {0, 3}),
            "anchor_attention: the block offsets run from 0 to 3, expected 0 to 2, the number of blocks");
  EXPECT_EQ(message(Tensor({4, 24}), {0, 2, 1, 2}), "anchor_attention: the block offsets fall at sequence 1: 2, 1");
  EXPECT_EQ(message(Tensor({4, 24}), {0, 2}, Tensor({2, 8})),
            "anchor_attention: anchors f32 (2, 8), expected f32 (2, 16)");
  EXPECT_EQ(message(Tensor({4, 36}), {0, 2}),
            "anchor_attention: item and slot positions need a head width divisible by 4, found 6");
  options.positions.kind = Kind::flat;
  EXPECT_EQ(message(Tensor({4, 18}), {0, 2}), "anchor_attention: rotary positions need an even head width, found 3");
  options.heads = 0;
  EXPECT_EQ(message(Tensor({4, 24}), {0, 2}), "anchor_attention: 0 heads, expected 1 or more");
}

}  // namespace tessera
