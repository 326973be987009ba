#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/ops/attention/attention.h"
#include "tensor/ops/attention/positions.h"

namespace tessera {

// A block of columns of a tensor, all its rows: q, k and v may be three of them in one tensor. An empty tensor: not
// wanted.
struct Columns {
  Tensor tensor;
  std::int64_t first = 0;

  explicit operator bool() const { return static_cast<bool>(tensor); }
  std::int64_t stride() const { return tensor.columns(); }
  template <class T>
  T* row(std::int64_t i) const {
    return tensor.data<T>() + i * stride() + first;
  }
};

// A checked call, everything resolved: what the kernels read and the backward keeps.
struct JaggedAttention {
  Columns q, k, v;
  std::vector<std::int64_t> q_offset, k_offset;
  int heads = 1;
  std::int64_t key_width = 0, value_width = 0;
  AttentionMask mask = AttentionMask::causal;
  double scale = 1.0, rope_base = 0.0;
  Tensor bias;  // (buckets, H) or empty
  cpu::DistanceTable distances;

  std::int64_t sequences() const { return static_cast<std::int64_t>(q_offset.size()) - 1; }
};

// Which keys a query sees. Every mask is a prefix of the keys that grows with the query: the kernels ask for no more
// than its end for a query, and for the first query that sees a key.
struct PrefixMask {
  bool causal = false;
  std::int64_t queries = 0, keys = 0;

  std::int64_t shift() const { return causal ? keys - queries : 0; }  // position of query 0
  std::int64_t end(std::int64_t query) const {
    if (!causal) return keys;
    const std::int64_t last = query + shift() + 1;
    return last < 0 ? 0 : last < keys ? last : keys;
  }
  std::int64_t first_query(std::int64_t key) const { return causal && key > shift() ? key - shift() : 0; }
};

// A checked call of extend_attention: C continuations of `rows` rows each, the last `queries` of which ask.
struct SharedPast {
  Tensor q, own_k, own_v, past_k, past_v;
  std::int64_t rows = 1, queries = 1;
  std::vector<std::int64_t> past_offset;
  std::vector<std::int32_t> row;  // the history of each continuation
  int heads = 1;
  std::int64_t key_width = 0, value_width = 0;
  double scale = 1.0, rope_base = 0.0;
  Tensor bias;
  cpu::DistanceTable distances;
};

namespace cpu {
// log_sum: (Nq, H), log sum exp of each row's scores.
void attention_forward(const JaggedAttention& call, Tensor& y, Tensor& log_sum);
// Overwrites the rows of every sequence in dq, dk, dv, and dbias where it is not empty.
void attention_backward(const JaggedAttention& call, const Tensor& y, const Tensor& log_sum, const Tensor& dy,
                        const Columns& dq, const Columns& dk, const Columns& dv, Tensor& dbias);
void extend_attention(const SharedPast& call, Tensor& y);
void rotate_keys(const Tensor& k, std::span<const std::int64_t> offset, std::span<const std::int64_t> start, int heads,
                 double rope_base, Tensor& y);
}  // namespace cpu

}  // namespace tessera
