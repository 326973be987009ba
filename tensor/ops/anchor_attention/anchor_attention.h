#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

// Who sees whom in a history of blocks (Hi-SAM, arXiv 2602.11799; the variants are our reconstruction). A block is an
// item: T tokens, then its anchor, in the last slot.
//   base           own block causally (so the anchor sees all of it), and the anchors of earlier blocks
//   both_ways      the same, but the tokens of a block see each other both ways (not their anchor)
//   local_anchors  as base, but anchors see their own block alone: the past enters through the tokens
//   own_block      own block causally and nothing else: anchors that depend on their item alone
//   full           own block causally, and every row of earlier blocks: full causal attention, for comparison
enum class AnchorMask { base, both_ways, local_anchors, own_block, full };

// Rotary positions of a row: item i (0 the oldest), slot s in its block of B rows. Pair p is (x_p, x_(p + Dk/2)), as in
// self_attention; P = Dk/2 pairs.
//   hierarchical  pairs 0 .. P/2 - 1 turn by i item_base^(-2p/P), the others by s slot_base^(-2(p - P/2)/P): two
//                 orthogonal subspaces, so a score depends on the item gap and on the slot gap alone (Dk a multiple of
//                 4)
//   one_ladder    one ladder of frequencies item_base^(-p/P): the fast half turns by s, the slow half by i (HiRoPE,
//                 arXiv 2403.19115)
//   flat          all pairs turn by the row index i B + s, item_base^(-p/P) (RoFormer)
struct BlockPositions {
  enum class Kind { hierarchical, one_ladder, flat, none };
  Kind kind = Kind::hierarchical;
  double item_base = 10000.0, slot_base = 100.0;
};

struct AnchorOptions {
  int heads = 1;
  int block = 2;  // B: rows of a block, the anchor included
  AnchorMask mask = AnchorMask::base;
  BlockPositions positions;
  double scale = 0.0;         // 0: 1/sqrt(Dk)
  bool anchors_only = false;  // only anchors ask: the result has one row a block (a last layer needs no others)
  int far_rows() const {      // F: rows of a block that later blocks see
    return mask == AnchorMask::full ? block : 1;
  }
};

// Attention over jagged histories of blocks, fused, forward and backward: scores exist for a few queries and keys at a
// time (online softmax), masks as two numbers a query, never as a matrix; one number a (row, head) is kept for the
// backward.
//   o_x = sum_y softmax_y(scale R_x q_x . R_y k_y) v_y   for each head, y over the rows that the mask allows
// qkv (N*B, 3*H*Dk), laid out [q | k | v], each head after head; N blocks; offset (S + 1), from 0 to N, in blocks.
// anchors (N, 2*H*Dk), [k | v], not rotated: what *later* blocks see of each anchor instead of the anchor row's own key
// and value, which its own block sees still; so a block can tell later ones what it must not know itself. Empty: the
// anchor row's own. Returns (N*B, H*Dk), or (N, H*Dk) with anchors_only. f32 and f64; the same bits for any number of
// threads. A sequence of n blocks costs n B (B+1)/2 + B F n(n-1)/2 scores a head.
// Gradient, p the softmax and g_xy = p_xy (do_x . v_y - do_x . o_x): dq_x = scale R_x^T sum_y g_xy R_y k_y, dk_y =
// scale R_y^T sum_x g_xy R_x q_x, dv_y = sum_x p_xy do_x; what later blocks add goes to anchors where they are given.
TESSERA_API Tensor anchor_attention(const Tensor& qkv, std::span<const std::int64_t> offset, const Tensor& anchors,
                                    const AnchorOptions& options);

// For caches, not recorded: what later blocks see of N blocks, (N*F, 2*H*Dk), [k | v] with rotated keys. Block i of
// sequence b is item start[b] + i; start may be empty (zeros). Where F is 1 and anchors are given, qkv may be empty.
TESSERA_API Tensor remembered_rows(const Tensor& qkv, std::span<const std::int64_t> offset,
                                   std::span<const std::int64_t> start, const Tensor& anchors,
                                   const AnchorOptions& options);

// Inference: C blocks, qkv (C*B, 3*H*Dk), over remembered rows of histories, past (M, 2*H*Dk), past_offset in items:
// history h is rows past_offset[h] F .. past_offset[h + 1] F. Block c sees the first seen[c] items of history row[c]
// and itself, and stands at item position seen[c]. So candidates (seen: all) do not see each other, and appended blocks
// see what was remembered of those before. The bits of a block's result do not depend on the other blocks. Not
// recorded.
TESSERA_API Tensor anchor_attention_past(const Tensor& qkv, const Tensor& past,
                                         std::span<const std::int64_t> past_offset, std::span<const std::int32_t> row,
                                         std::span<const std::int64_t> seen, const AnchorOptions& options);

}  // namespace tessera
