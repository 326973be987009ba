#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/ops/anchor_attention/anchor_attention.h"
#include "tensor/ops/attention/pack.h"

// What the kernels of this room share.
namespace tessera {

// A checked call: blocks in an order, cut into units that share the rows they see.
struct BlockAttention {
  Tensor qkv, anchors, past;  // anchors: (N, 2*H*Dk) or empty; past: remembered rows, else the blocks see each other
  std::int64_t heads = 1, width = 0, block = 2, far = 1, queries = 2;  // queries: the last rows of a block that ask
  bool tokens_see = true, anchors_see = true, both_ways = false;
  double scale = 1.0;
  BlockPositions positions;
  std::vector<std::int64_t> at, seen;  // of each block in order: its number, the items before it (its position)
  struct Unit {
    std::int64_t begin, end;    // of that order
    std::int64_t first, items;  // what is seen: blocks, or items of the past
  };
  std::vector<Unit> units;

  std::int64_t inner() const { return heads * width; }
  std::int64_t longest() const {  // positions that occur
    return seen.empty() ? 1 : *std::max_element(seen.begin(), seen.end()) + 1;
  }
  // Far rows and own rows that a slot sees, both prefixes.
  std::int64_t sees(std::int64_t slot, std::int64_t items) const {
    return (slot + 1 == block ? anchors_see : tokens_see) ? items * far : 0;
  }
  std::int64_t own(std::int64_t slot) const { return both_ways && slot + 1 < block ? block - 1 : slot + 1; }
  std::int64_t slot(std::int64_t query) const { return block - queries + query % queries; }
};

namespace cpu {

inline constexpr std::int64_t kStrip = kBlockRows;  // blocks of a strip: their rows are whole groups of kBlockRows

// cos and sin of row i B + s. Empty for none. Shared and kept between calls.
template <class T>
std::shared_ptr<const RotaryTable<T>> block_rotary(const BlockPositions& positions, std::int64_t width,
                                                   std::int64_t block, std::int64_t items);

// log_sum: (rows of y, H), log sum exp of each row's scores, or empty.
void anchor_forward(const BlockAttention& call, Tensor& y, Tensor& log_sum);
// Overwrites dqkv, and danchors where it is not empty.
void anchor_backward(const BlockAttention& call, const Tensor& y, const Tensor& log_sum, const Tensor& dy, Tensor& dqkv,
                     Tensor& danchors);
void remembered_rows(const BlockAttention& call, Tensor& rows);

// Key and value of a far row, and where its key turns to: -1, it is turned already.
template <class T>
struct FarRow {
  const T *key, *value;
  std::int64_t turn;
};
template <class T>
FarRow<T> far_row(const BlockAttention& call, const BlockAttention::Unit& unit, std::int64_t head, std::int64_t j) {
  const std::int64_t inner = call.inner(), at = head * call.width;
  if (call.past) {
    const T* row = call.past.data<T>() + (unit.first * call.far + j) * 2 * inner + at;
    return {row, row + inner, -1};
  }
  const std::int64_t item = j / call.far, slot = call.far == 1 ? call.block - 1 : j % call.far;
  // Blocks stand in order, so the unit's item i is block `first + i` at position seen.
  const std::int64_t turn = call.seen[static_cast<std::size_t>(unit.begin + item)] * call.block + slot;
  if (call.anchors && slot + 1 == call.block) {
    const T* row = call.anchors.data<T>() + (unit.first + item) * 2 * inner + at;
    return {row, row + inner, turn};
  }
  const T* row = call.qkv.data<T>() + ((unit.first + item) * call.block + slot) * 3 * inner + at;
  return {row + inner, row + 2 * inner, turn};
}

// One head of rows lies far apart in memory. While a strip computes, the rows of the next one are fetched into the
// second cache, a few at a time. Inlined by force: g++ drops the call of a function that only prefetches.
template <bool kWrite = false, class T>
[[gnu::always_inline]] inline void fetch(const T* row, std::int64_t stride, std::int64_t rows, std::int64_t width) {
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t r = 0; r < rows; ++r, row += stride)
    for (std::int64_t d = 0; d < width; d += kLine) __builtin_prefetch(row + d, kWrite, 2);
}

// f(block) for the share of the next strip's blocks that belongs to query i of `queries`, kBlockRows at a time.
template <class F>
[[gnu::always_inline]] inline void share_of_next(std::int64_t i, std::int64_t queries, const std::int64_t* next,
                                                 std::int64_t blocks, F&& f) {
  const std::int64_t groups = (queries + kBlockRows - 1) / kBlockRows, group = i / kBlockRows;
  for (std::int64_t b = group * blocks / groups; b < (group + 1) * blocks / groups; ++b) f(next[b]);
}

// All far rows of a unit: keys (padded(n), padded(Dk)) scaled and turned, values (padded(n), padded(Dk)).
template <class T>
void pack_far(const BlockAttention& call, const BlockAttention::Unit& unit, std::int64_t head,
              const RotaryTable<T>* rope, T* keys, T* values) {
  const std::int64_t n = unit.items * call.far, ld = padded<T>(call.width);
  for (std::int64_t j = 0; j < n; ++j) {
    const FarRow<T> row = far_row<T>(call, unit, head, j),
                    ahead = far_row<T>(call, unit, head, std::min(j + 12, n - 1));
    fetch(ahead.key, 0, 1, call.width);
    fetch(ahead.value, 0, 1, call.width);
    pack_rows(row.key, 0, 1, call.width, static_cast<T>(call.scale), row.turn < 0 ? nullptr : rope, row.turn,
              keys + j * ld);
    pack_rows<T>(row.value, 0, 1, call.width, T{1}, nullptr, 0, values + j * ld);
  }
  std::fill(keys + n * ld, keys + padded<T>(n) * ld, T{0});
  std::fill(values + n * ld, values + padded<T>(n) * ld, T{0});
}

// A strip of at most kStrip blocks of one head: queries, own keys and values, packed.
template <class T>
struct Strip {
  std::int64_t blocks = 0, rows = 0, queries = 0;  // rows: own rows; queries: rows that ask
  std::int64_t ld = 0;                             // of keys_t (and values_t)
  const std::int64_t *at = nullptr, *seen = nullptr;
  T *q = nullptr, *k = nullptr, *v = nullptr, *keys_t = nullptr;
};

template <class T>
struct StripBuffers {
  Buffer<T> q, k, v, keys_t;
};

// The strip of blocks at, seen [0 .. count). Keys and values have zeros below, to whole vectors and one more, so that a
// vector may begin at any row.
template <class T>
Strip<T> pack_strip(const BlockAttention& call, std::int64_t head, const RotaryTable<T>* rope, const std::int64_t* at,
                    const std::int64_t* seen, std::int64_t count, StripBuffers<T>& buffers) {
  const std::int64_t block = call.block, asks = call.queries, w = padded<T>(call.width), stride = 3 * call.inner();
  Strip<T> s;
  s.blocks = count;
  s.rows = count * block;
  s.queries = count * asks;
  s.ld = padded<T>(s.rows) + simd::kLanes<T>;
  s.at = at;
  s.seen = seen;
  s.q = buffers.q.take(s.queries * w);
  s.k = buffers.k.take(s.ld * w);
  s.v = buffers.v.take(s.ld * w);
  s.keys_t = buffers.keys_t.take(call.width * s.ld);
  for (std::int64_t b = 0; b < count; ++b) {
    const T* row = call.qkv.data<T>() + at[b] * block * stride + head * call.width;
    const std::int64_t turn = seen[b] * block;
    pack_rows(row + (block - asks) * stride, stride, asks, call.width, T{1}, rope, turn + block - asks,
              s.q + b * asks * w);
    pack_rows(row + call.inner(), stride, block, call.width, static_cast<T>(call.scale), rope, turn,
              s.k + b * block * w);
    pack_rows<T>(row + 2 * call.inner(), stride, block, call.width, T{1}, nullptr, 0, s.v + b * block * w);
  }
  std::fill(s.k + s.rows * w, s.k + s.ld * w, T{0});
  std::fill(s.v + s.rows * w, s.v + s.ld * w, T{0});
  transpose_block(s.k, s.ld, call.width, s.keys_t);
  return s;
}

// The own rows that queries i .. i + m - 1 of a strip see lie in lo .. hi - 1.
struct OwnRange {
  std::int64_t lo, hi;
};
inline OwnRange own_range(const BlockAttention& call, std::int64_t i, std::int64_t m) {
  return {i / call.queries * call.block, ((i + m - 1) / call.queries + 1) * call.block};
}

// Units and heads, head running first, cut into tiles of about equal cost.
inline std::vector<std::int64_t> tiles_of(const BlockAttention& call) {
  constexpr std::int64_t kCost = 60000;
  std::vector<std::int64_t> begin = {0};
  std::int64_t cost = 0;
  const auto units = static_cast<std::int64_t>(call.units.size());
  for (std::int64_t i = 0; i < units * call.heads; ++i) {
    const auto& unit = call.units[static_cast<std::size_t>(i / call.heads)];
    const std::int64_t blocks = unit.end - unit.begin;
    if (cost >= kCost) {
      begin.push_back(i);
      cost = 0;
    }
    cost += blocks * call.queries * (unit.items * call.far / 2 + call.block) + 16 * blocks * call.block + 64;
  }
  begin.push_back(units * call.heads);
  return begin;
}

}  // namespace cpu
}  // namespace tessera
