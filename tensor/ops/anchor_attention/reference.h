#pragma once

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

// Value, and the gradients of y . dy. first_item, first_slot: where positions begin to count.
inline BlockGradients anchor_attention(const Tensor& qkv, const Offsets& offset, const Tensor& anchors,
                                       const AnchorOptions& options, const Tensor& dy, std::int64_t first_item = 0,
                                       std::int64_t first_slot = 0) {
  const std::int64_t block = options.block, inner = qkv.columns() / 3, heads = options.heads, width = inner / heads,
                     stride = 3 * inner, asks = options.anchors_only ? 1 : block;
  const double scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(width));
  BlockGradients out{Tensor::zeros({offset.back() * asks, inner}, DType::f64), Tensor::zeros(qkv.shape(), DType::f64),
                     anchors ? Tensor::zeros(anchors.shape(), DType::f64) : Tensor()};
  for (std::size_t b = 0; b + 1 < offset.size(); ++b)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t row = offset[b] * block; row < offset[b + 1] * block; ++row) {
        const std::int64_t item = row / block - offset[b] + first_item, slot = row % block;
        if (slot < block - asks) continue;
        const std::int64_t to = row / block * asks + slot - (block - asks);
        const auto query = turned(qkv.data<double>() + row * stride + h * width, width, options.positions, block, item,
                                  slot + first_slot, 1);
        struct Key {
          std::vector<double> key;
          const double* value;
          double *dkey, *dvalue, weight, dweight;
          std::int64_t item, slot;
        };
        std::vector<Key> keys;
        double top = -1e300, sum = 0, mean = 0;
        for (std::int64_t k = offset[b] * block; k < offset[b + 1] * block; ++k) {
          const std::int64_t key_item = k / block - offset[b] + first_item, key_slot = k % block;
          if (!allowed(options.mask, block, item, slot, key_item, key_slot)) continue;
          const bool apart = anchors && key_item < item && key_slot + 1 == block;
          const std::int64_t at = apart ? k / block * 2 * inner + h * width : k * stride + inner + h * width;
          const double* from = (apart ? anchors : qkv).data<double>() + at;
          double* gradient = (apart ? out.danchors : out.dqkv).data<double>() + at;
          Key one{turned(from, width, options.positions, block, key_item, key_slot + first_slot, 1),
                  from + inner,
                  gradient,
                  gradient + inner,
                  0,
                  0,
                  key_item,
                  key_slot};
          one.weight = scale * dot(query, one.key);
          top = std::max(top, one.weight);
          keys.push_back(std::move(one));
        }
        for (Key& key : keys) sum += key.weight = std::exp(key.weight - top);
        const double* g = dy.data<double>() + to * inner + h * width;
        double* y = out.y.data<double>() + to * inner + h * width;
        for (Key& key : keys) {
          key.weight /= sum;
          for (std::int64_t d = 0; d < width; ++d) {
            y[d] += key.weight * key.value[d];
            key.dweight += g[d] * key.value[d];
            key.dvalue[d] += key.weight * g[d];
          }
          mean += key.weight * key.dweight;
        }
        std::vector<double> dquery(query.size(), 0.0);
        for (const Key& key : keys) {
          const double ds = scale * key.weight * (key.dweight - mean);
          std::vector<double> dkey(query);
          for (std::size_t d = 0; d < dkey.size(); ++d) {
            dkey[d] *= ds;
            dquery[d] += ds * key.key[d];
          }
          dkey = turned(dkey.data(), width, options.positions, block, key.item, key.slot + first_slot, -1);
          for (std::size_t d = 0; d < dkey.size(); ++d) key.dkey[d] += dkey[d];
        }
        dquery = turned(dquery.data(), width, options.positions, block, item, slot + first_slot, -1);
        for (std::size_t d = 0; d < dquery.size(); ++d)
          out.dqkv.data<double>()[row * stride + h * width + static_cast<std::int64_t>(d)] += dquery[d];
      }
  return out;
}

}  // namespace tessera::reference
