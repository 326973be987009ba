#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/tensor.h"

namespace tessera {

enum class AttentionMask { bidirectional, causal };

struct AttentionOptions {
  int heads = 1;
  AttentionMask mask = AttentionMask::causal;
  double scale = 0.0;  // 0: 1/sqrt(width of a query head)
  // Rotary positions (RoFormer, Su et al. 2021), applied to queries and keys inside the kernel. Pair i is (x_i, x_(i +
  // Dk/2)) and turns by position * rope_base^(-2i/Dk); Dk is even. 0: none.
  double rope_base = 0.0;
  // Relative bias (T5, Raffel et al. 2020): added to the scores of head h at distance (key position - query position)
  // through relative_bucket(); (buckets, H), learnt, or empty. It is added after the scale.
  Tensor relative_bias;
  int max_distance = 128;
};

// T5's bucket of a distance: half exact, half logarithmic up to max_distance; bidirectional uses half for each sign.
TESSERA_API int relative_bucket(std::int64_t key_minus_query, bool bidirectional, int buckets, int max_distance);

// Scaled dot-product attention over jagged rows, fused, forward and backward: scores exist for one block of queries and
// keys at a time (online softmax; FlashAttention, Dao et al. 2022), never as a matrix; one number a (row, head) is kept
// for the backward.
//   o_i = sum_j softmax_j(scale q_i . k_j + bias) v_j   for each head, j over the keys of i's own sequence that the
//   mask allows.
// self_attention: qkv (N, H*(2*Dk + Dv)) with Dv = Dk, laid out [q | k | v], each head after head; offset (B + 1), from
// 0 to N. attention: q (Nq, H*Dk), k (Nk, H*Dk), v (Nk, H*Dv), one offset list a side. With causal masks a query row i
// of a sequence with nq queries and nk keys sees keys 0 .. i + (nk - nq): queries are the last rows of the sequence.
// Position of a key: its index in its sequence. Position of a query: its index, plus nk - nq under a causal mask.
// Dk and Dv may differ; query rows without any key give zeros. Returns (Nq, H*Dv). f32 and f64.
// Gradient, p the softmax and g_ij = p_ij (do_i . v_j - do_i . o_i): dq_i = scale sum_j g_ij k_j, dk_j = scale sum_i
// g_ij q_i, dv_j = sum_i p_ij do_i, dbias_b = sum of g_ij at bucket b.
TESSERA_API Tensor self_attention(const Tensor& qkv, std::span<const std::int64_t> offset,
                                  const AttentionOptions& options);
TESSERA_API Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, std::span<const std::int64_t> q_offset,
                             std::span<const std::int64_t> k_offset, const AttentionOptions& options);

// Inference with a shared past: C continuations, each of them t rows long (its own earlier rows included), of B
// histories whose keys and values are cached. Row c's queries see the history keys of its row[c], then its own rows up
// to themselves; the own row r stands at position (history length) + r. The mask of the options only chooses the form
// of the relative buckets. own_k (C * t, H*Dk) and own_v (C * t, H*Dv), t = own_rows; q has as many rows, or is (C,
// H*Dk): then only the last row of each continuation is a query. q and own_k come without rotation, past_k (Nk, H*Dk)
// with it (see rotate_keys); past_v (Nk, H*Dv), past_offset (B + 1), row (C). Continuations do not see each other. Not
// recorded. Returns as many rows as q has.
TESSERA_API Tensor extend_attention(const Tensor& q, const Tensor& own_k, const Tensor& own_v, std::int64_t own_rows,
                                    const Tensor& past_k, const Tensor& past_v,
                                    std::span<const std::int64_t> past_offset, std::span<const std::int32_t> row,
                                    const AttentionOptions& options);

// Rotates the heads of k (N, H*Dk) to the positions start[b], start[b] + 1, ... of each sequence; start may be empty
// (zeros). Not recorded. With a rope_base of 0 it returns k.
TESSERA_API Tensor rotate_keys(const Tensor& k, std::span<const std::int64_t> offset,
                               std::span<const std::int64_t> start, int heads, double rope_base);

}  // namespace tessera
