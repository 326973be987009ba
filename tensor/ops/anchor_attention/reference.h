#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/ops/anchor_attention/anchor_attention.h"
#include "tensor/ops/attention/reference.h"

// For the tests of this room: a dense mask over all pairs of rows, whole score rows, f64.
namespace tessera::reference {

struct BlockGradients {
  Tensor y, dqkv, danchors;
};

inline bool allowed(AnchorMask mask, std::int64_t block, std::int64_t item, std::int64_t slot, std::int64_t key_item,
                    std::int64_t key_slot) {
  const bool anchor = slot + 1 == block, key_anchor = key_slot + 1 == block;
  if (key_item > item) return false;
  if (key_item == item) return key_slot <= slot || (mask == AnchorMask::both_ways && !anchor && !key_anchor);
  if (mask == AnchorMask::own_block || (mask == AnchorMask::local_anchors && anchor)) return false;
  return mask == AnchorMask::full || key_anchor;
}

// One head of one row, turned; sign -1: back.
inline std::vector<double> turned(const double* x, std::int64_t width, const BlockPositions& positions,
                                  std::int64_t block, std::int64_t item, std::int64_t slot, double sign) {
  using Kind = BlockPositions::Kind;
  std::vector<double> y(x, x + width);
  if (positions.kind == Kind::none) return y;
  const std::int64_t pairs = width / 2;
  for (std::int64_t p = 0; p < pairs; ++p) {
    const auto whole = static_cast<double>(pairs), half = whole / 2, at = static_cast<double>(p);
    double angle = 0;
    if (positions.kind == Kind::flat) {
      angle = static_cast<double>(item * block + slot) / std::pow(positions.item_base, at / whole);
    } else if (positions.kind == Kind::one_ladder) {
      angle = static_cast<double>(p < pairs / 2 ? slot : item) / std::pow(positions.item_base, at / whole);
    } else if (p < pairs / 2) {
      angle = static_cast<double>(item) / std::pow(positions.item_base, at / half);
    } else {
      angle = static_cast<double>(slot) / std::pow(positions.slot_base, (at - half) / half);
    }
    angle *= sign;
    const auto a = static_cast<std::size_t>(p), b = static_cast<std::size_t>(p + pairs);
    y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    y[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
  }
  return y;
}

// One call, and its rows by sequence, item and slot. first_item, first_slot: where positions begin to count.
struct Blocks {
  const Tensor &qkv, &anchors;
  const AnchorOptions& options;
  std::int64_t first_item, first_slot;

  std::int64_t inner() const { return qkv.columns() / 3; }
  std::int64_t width() const { return inner() / options.heads; }
  std::vector<double> turn(const double* x, std::int64_t item, std::int64_t slot, double sign) const {
    return turned(x, width(), options.positions, options.block, item + first_item, slot + first_slot, sign);
  }
};

// A key that a query sees: turned, its value, and where their gradients go.
struct SeenKey {
  std::vector<double> key;
  const double* value;
  double *dkey, *dvalue;
  std::int64_t item, slot;
  double weight = 0, dweight = 0;
};

// The keys of blocks first .. end - 1 that (item, slot) of that sequence sees, in one head.
inline std::vector<SeenKey> seen_keys(const Blocks& call, std::int64_t first, std::int64_t end, std::int64_t item,
                                      std::int64_t slot, std::int64_t head, BlockGradients& out) {
  const std::int64_t block = call.options.block, inner = call.inner();
  std::vector<SeenKey> keys;
  for (std::int64_t row = first * block; row < end * block; ++row) {
    const std::int64_t key_item = row / block - first, key_slot = row % block;
    if (!allowed(call.options.mask, block, item, slot, key_item, key_slot)) continue;
    const bool apart = call.anchors && key_item < item && key_slot + 1 == block;
    const std::int64_t at = (apart ? row / block * 2 : row * 3 + 1) * inner + head * call.width();
    const double* from = (apart ? call.anchors : call.qkv).data<double>() + at;
    double* gradient = (apart ? out.danchors : out.dqkv).data<double>() + at;
    keys.push_back(
        {call.turn(from, key_item, key_slot, 1), from + inner, gradient, gradient + inner, key_item, key_slot});
  }
  return keys;
}

// Value of one query and head, and all its gradients: g is its dy, y and dquery are added to.
inline void attend(const Blocks& call, const std::vector<double>& query, std::vector<SeenKey>& keys, const double* g,
                   double* y, std::vector<double>& dquery) {
  const double scale =
      call.options.scale != 0.0 ? call.options.scale : 1.0 / std::sqrt(static_cast<double>(call.width()));
  double top = -1e300, sum = 0, mean = 0;
  for (SeenKey& key : keys) top = std::max(top, key.weight = scale * dot(query, key.key));
  for (SeenKey& key : keys) sum += key.weight = std::exp(key.weight - top);
  for (SeenKey& key : keys) {
    key.weight /= sum;
    for (std::int64_t d = 0; d < call.width(); ++d) {
      y[d] += key.weight * key.value[d];
      key.dweight += g[d] * key.value[d];
      key.dvalue[d] += key.weight * g[d];
    }
    mean += key.weight * key.dweight;
  }
  for (const SeenKey& key : keys) {
    const double ds = scale * key.weight * (key.dweight - mean);
    std::vector<double> dkey(query);
    for (std::size_t d = 0; d < dkey.size(); ++d) {
      dkey[d] *= ds;
      dquery[d] += ds * key.key[d];
    }
    dkey = call.turn(dkey.data(), key.item, key.slot, -1);
    for (std::size_t d = 0; d < dkey.size(); ++d) key.dkey[d] += dkey[d];
  }
}

// Value, and the gradients of y . dy.
inline BlockGradients anchor_attention(const Tensor& qkv, const Offsets& offset, const Tensor& anchors,
                                       const AnchorOptions& options, const Tensor& dy, std::int64_t first_item = 0,
                                       std::int64_t first_slot = 0) {
  const Blocks call{qkv, anchors, options, first_item, first_slot};
  const std::int64_t block = options.block, inner = call.inner(), width = call.width(),
                     asks = options.anchors_only ? 1 : block;
  BlockGradients out{Tensor::zeros({offset.back() * asks, inner}, DType::f64), Tensor::zeros(qkv.shape(), DType::f64),
                     anchors ? Tensor::zeros(anchors.shape(), DType::f64) : Tensor()};
  for (std::size_t b = 0; b + 1 < offset.size(); ++b)
    for (std::int64_t head = 0; head < options.heads; ++head)
      for (std::int64_t row = offset[b] * block; row < offset[b + 1] * block; ++row) {
        const std::int64_t item = row / block - offset[b], slot = row % block;
        if (slot < block - asks) continue;
        const std::int64_t to = (row / block * asks + slot - (block - asks)) * inner + head * width,
                           at = row * 3 * inner + head * width;
        const auto query = call.turn(qkv.data<double>() + at, item, slot, 1);
        auto keys = seen_keys(call, offset[b], offset[b + 1], item, slot, head, out);
        std::vector<double> dquery(query.size(), 0.0);
        attend(call, query, keys, dy.data<double>() + to, out.y.data<double>() + to, dquery);
        dquery = call.turn(dquery.data(), item, slot, -1);
        for (std::size_t d = 0; d < dquery.size(); ++d)
          out.dqkv.data<double>()[at + static_cast<std::int64_t>(d)] += dquery[d];
      }
  return out;
}

}  // namespace tessera::reference
