#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tensor/ops/attention/jagged.h"

// What the forward and the backward kernel share: a unit of work is one head of one sequence.
namespace tessera::cpu {

// The rows of one operand, all heads side by side.
template <class T>
struct Rows {
  T* base = nullptr;
  std::int64_t stride = 0, width = 0;  // width of a head

  Rows() = default;
  Rows(const Columns& columns, std::int64_t head_width) : width(head_width) {
    if (!columns) return;
    base = columns.row<T>(0);
    stride = columns.stride();
  }
  explicit operator bool() const { return base != nullptr; }
  T* at(std::int64_t row, int head) const { return base + row * stride + head * width; }
};

template <class T>
struct Unit {
  std::int64_t first_query, first_key, queries, keys;
  int head;
  PrefixMask mask;
  const T* bias;  // of the head by distance, or null

  Unit(const JaggedAttention& call, const std::vector<T>& spread, std::int64_t unit)
      : head(static_cast<int>(unit % call.heads)) {
    const auto b = static_cast<std::size_t>(unit / call.heads);
    first_query = call.q_offset[b];
    first_key = call.k_offset[b];
    queries = call.q_offset[b + 1] - first_query;
    keys = call.k_offset[b + 1] - first_key;
    mask = {call.mask == AttentionMask::causal, queries, keys};
    bias = spread.empty() ? nullptr : spread.data() + head * call.distances.width();
  }
};

// Units (sequence, head), head running first, cut into tiles of about equal cost.
inline std::vector<std::int64_t> tiles_of(const JaggedAttention& call) {
  constexpr std::int64_t kCost = 60000;
  std::vector<std::int64_t> begin = {0};
  std::int64_t cost = 0;
  for (std::int64_t unit = 0; unit < call.sequences() * call.heads; ++unit) {
    const auto b = static_cast<std::size_t>(unit / call.heads);
    const std::int64_t queries = call.q_offset[b + 1] - call.q_offset[b],
                       keys = call.k_offset[b + 1] - call.k_offset[b];
    if (cost >= kCost) {
      begin.push_back(unit);
      cost = 0;
    }
    cost += queries * keys + 16 * (queries + keys) + 64;
  }
  begin.push_back(call.sequences() * call.heads);
  return begin;
}

// f(unit) for the units of a tile, in order.
template <class T, class F>
void for_units(const JaggedAttention& call, const std::vector<T>& spread, const std::vector<std::int64_t>& tiles,
               std::int64_t tile, F&& f) {
  const std::int64_t begin = tiles[static_cast<std::size_t>(tile)], end = tiles[static_cast<std::size_t>(tile) + 1];
  for (std::int64_t unit = begin; unit < end; ++unit)
    f(Unit<T>(call, spread, unit), Unit<T>(call, spread, std::min(unit + 1, end - 1)));
}

// Rows of a head lie far apart in memory, so that a head alone is read at the speed of cache misses. While one unit
// computes, rows of the next one are fetched into the second cache, a few at a time: m of them from the i-th of its n
// rows on. Inlined by force: g++ drops the call of a function that only prefetches.
template <bool kWrite = false, class T>
[[gnu::always_inline]] inline void fetch(const Rows<T>& x, std::int64_t first, std::int64_t n, int head, std::int64_t i,
                                         std::int64_t m) {
  if (!x || i >= n) return;
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
  const T* row = x.at(first + i, head);
  for (std::int64_t r = std::min(m, n - i); r > 0; --r, row += x.stride)
    for (std::int64_t d = 0; d < x.width; d += kLine) __builtin_prefetch(row + d, kWrite, 2);
}

inline std::int64_t longest_sequence(const JaggedAttention& call) {
  std::int64_t most = 1;
  for (std::size_t b = 0; b + 1 < call.q_offset.size(); ++b)
    most = std::max({most, call.q_offset[b + 1] - call.q_offset[b], call.k_offset[b + 1] - call.k_offset[b]});
  return most;
}

}  // namespace tessera::cpu
