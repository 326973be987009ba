#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/anchor_attention/blocks.h"
#include "tensor/ops/attention/scores.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kForwardKeys = 256;  // scores of kBlockRows queries and so many far keys at a time

template <class T>
struct ForwardBuffers {
  StripBuffers<T> strip;
  Buffer<T> far_keys, far_keys_t, far_values, scores, own, weights, out;
};

// The softmax of one query over its first far keys (n vectors of scores, `visible` count) and its own block. The own
// part stands in the same lanes wherever the block stands in its strip: the sum has the same bits everywhere.
template <class T>
void softmax_start(T* far, std::int64_t n, std::int64_t visible, const T* own, std::int64_t own_keys, T* weights,
                   T& top, T& sum) {
  using simd::Vec;
  constexpr int kLanes = simd::kLanes<T>;
  const Vec<T> lowest = simd::broadcast(std::numeric_limits<T>::lowest());
  const auto own_scores = [&](std::int64_t j) {
    const Vec<T> s = simd::load(own + j * kLanes);
    return own_keys < (j + 1) * kLanes ? (lane_numbers<T>() < static_cast<T>(own_keys - j * kLanes) ? s : lowest) : s;
  };
  Vec<T> highest = lowest;
  for (std::int64_t j = 0; j < n; ++j) {
    Vec<T> s = simd::load(far + j * kLanes);
    if (visible < (j + 1) * kLanes) {
      s = lane_numbers<T>() < static_cast<T>(visible - j * kLanes) ? s : lowest;
      simd::store(far + j * kLanes, s);
    }
    highest = simd::max<T>(highest, s);
  }
  const std::int64_t own_vectors = vectors<T>(own_keys);
  for (std::int64_t j = 0; j < own_vectors; ++j) highest = simd::max<T>(highest, own_scores(j));
  top = simd::top<T>(highest);
  Vec<T> total{};
  for (std::int64_t j = 0; j < n; ++j) {
    const Vec<T> p = simd::exp(simd::load(far + j * kLanes) - top);
    total += p;
    simd::store(far + j * kLanes, p);
  }
  for (std::int64_t j = 0; j < own_vectors; ++j) {
    const Vec<T> p = simd::exp(own_scores(j) - top);
    total += p;
    simd::store(weights + j * kLanes, p);
  }
  sum = simd::sum<T>(total);
}

// One head of one unit: strip by strip, kBlockRows queries at a time over the far rows in tiles and their own blocks.
template <class T>
class Forward {
 public:
  Forward(const BlockAttention& call, const BlockAttention::Unit& unit, std::int64_t head, const RotaryTable<T>* rope,
          ForwardBuffers<T>& buffers)
      : call_(call), unit_(unit), head_(head), rope_(rope), b_(buffers), w_(padded<T>(call.width)) {
    const std::int64_t n = unit.items * call.far;
    far_ld_ = padded<T>(n);
    T* keys = b_.far_keys.take(far_ld_ * w_);
    far_values_ = b_.far_values.take(far_ld_ * w_);
    pack_far(call, unit, head, rope, keys, far_values_);
    far_keys_t_ = b_.far_keys_t.take(call.width * far_ld_);
    transpose_block(keys, n, call.width, far_keys_t_);
    own_ld_ = padded<T>(kStrip * call.block) + 2 * simd::kLanes<T>;
    scores_ = b_.scores.take(kBlockRows * kForwardKeys);
    own_ = b_.own.take(kBlockRows * own_ld_);
    weights_ = b_.weights.take(kBlockRows * own_ld_);
    out_ = b_.out.take(kBlockRows * w_);
  }

  void run(T* y, T* log_sum) {
    for (std::int64_t first = unit_.begin; first < unit_.end; first += kStrip) {
      strip_ = pack_strip(call_, head_, rope_, call_.at.data() + first, call_.seen.data() + first,
                          std::min(kStrip, unit_.end - first), b_.strip);
      const std::int64_t next = first + kStrip, ahead = std::clamp<std::int64_t>(unit_.end - next, 0, kStrip);
      for (std::int64_t i = 0; i < strip_.queries; i += kBlockRows) {
        const std::int64_t m = std::min<std::int64_t>(kBlockRows, strip_.queries - i);
        share_of_next(i, strip_.queries, call_.at.data() + next, ahead, [&](std::int64_t block) {
          const std::int64_t inner = call_.inner(), at = head_ * call_.width;
          const T* row = call_.qkv.template data<T>() + block * call_.block * 3 * inner + at;
          for (std::int64_t part = 0; part < 3; ++part) fetch(row + part * inner, 3 * inner, call_.block, call_.width);
          fetch<true>(y + block * call_.queries * inner + at, inner, call_.queries, call_.width);
        });
        attend(i, m);
        for (std::int64_t r = 0; r < m; ++r) {
          const std::int64_t row = strip_.at[(i + r) / call_.queries] * call_.queries + (i + r) % call_.queries;
          copy_scaled(out_ + r * w_, call_.width, T{1} / sum_[r], y + row * call_.inner() + head_ * call_.width);
          if (log_sum) log_sum[row * call_.heads + head_] = top_[r] + std::log(sum_[r]);
        }
      }
    }
  }

 private:
  // Queries i .. i + m - 1 of the strip.
  void attend(std::int64_t i, std::int64_t m) {
    std::int64_t far[kBlockRows], most = 0;
    for (std::int64_t r = 0; r < m; ++r) {
      far[r] = call_.sees(call_.slot(i + r), strip_.seen[(i + r) / call_.queries]);
      most = std::max(most, far[r]);
    }
    const auto [lo, hi] = own_range(call_, i, m);
    const Left<T> queries{strip_.q + i * w_, w_, 1};
    product<T>(m, vectors<T>(hi - lo), call_.width, queries, strip_.keys_t + lo, strip_.ld, own_, own_ld_, false);
    for (std::int64_t r = 0; r < m; ++r) std::fill_n(weights_ + r * own_ld_, padded<T>(hi - lo), T{0});
    const std::int64_t keys = std::min(kForwardKeys, most), n = vectors<T>(keys);
    product<T>(m, n, call_.width, queries, far_keys_t_, far_ld_, scores_, kForwardKeys, false);
    for (std::int64_t r = 0; r < m; ++r) {
      const std::int64_t place = r * own_ld_ + (i + r) / call_.queries * call_.block - lo;
      softmax_start(scores_ + r * kForwardKeys, n, std::min(keys, far[r]), own_ + place, call_.own(call_.slot(i + r)),
                    weights_ + place, top_[r], sum_[r]);
    }
    product<T>(m, vectors<T>(call_.width), keys, {scores_, kForwardKeys, 1}, far_values_, w_, out_, w_, false);
    product<T>(m, vectors<T>(call_.width), hi - lo, {weights_, own_ld_, 1}, strip_.v + lo * w_, w_, out_, w_, true);
    for (std::int64_t j = kForwardKeys; j < most; j += kForwardKeys)
      more(i, m, j, std::min(kForwardKeys, most - j), far);
  }

  // The next far keys.
  void more(std::int64_t i, std::int64_t m, std::int64_t j, std::int64_t keys, const std::int64_t* far) {
    const std::int64_t n = vectors<T>(keys);
    product<T>(m, n, call_.width, {strip_.q + i * w_, w_, 1}, far_keys_t_ + j, far_ld_, scores_, kForwardKeys, false);
    for (std::int64_t r = 0; r < m; ++r) {
      const T factor =
          softmax_row<T>(scores_ + r * kForwardKeys, n, std::min(keys, far[r] - j), nullptr, top_[r], sum_[r]);
      if (factor != T{1})
        for (std::int64_t d = 0; d < w_; ++d) out_[r * w_ + d] *= factor;
    }
    product<T>(m, vectors<T>(call_.width), keys, {scores_, kForwardKeys, 1}, far_values_ + j * w_, w_, out_, w_, true);
  }

  const BlockAttention& call_;
  const BlockAttention::Unit& unit_;
  std::int64_t head_;
  const RotaryTable<T>* rope_;
  ForwardBuffers<T>& b_;
  std::int64_t w_, far_ld_, own_ld_;
  T *far_keys_t_, *far_values_, *scores_, *own_, *weights_, *out_;
  Strip<T> strip_;
  T top_[kBlockRows], sum_[kBlockRows];
};

}  // namespace

void anchor_forward(const BlockAttention& call, Tensor& y, Tensor& log_sum) {
  dispatch_float("anchor_attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = block_rotary<T>(call.positions, call.width, call.block, call.longest());
    const std::vector<std::int64_t> tiles = tiles_of(call);
    T* sums = log_sum ? log_sum.data<T>() : nullptr;
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      thread_local ForwardBuffers<T> buffers;
      for (std::int64_t i = tiles[static_cast<std::size_t>(tile)]; i < tiles[static_cast<std::size_t>(tile) + 1]; ++i)
        Forward<T>(call, call.units[static_cast<std::size_t>(i / call.heads)], i % call.heads, rope.get(), buffers)
            .run(y.data<T>(), sums);
    });
  });
}

void remembered_rows(const BlockAttention& call, Tensor& rows) {
  dispatch_float("remembered_rows", rows.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = block_rotary<T>(call.positions, call.width, call.block, call.longest());
    parallel_for(static_cast<std::int64_t>(call.units.size()), [&](std::int64_t u) {
      const auto& unit = call.units[static_cast<std::size_t>(u)];
      T* to = rows.data<T>() + unit.first * call.far * 2 * call.inner();
      for (std::int64_t j = 0; j < unit.items * call.far; ++j, to += 2 * call.inner())
        for (std::int64_t h = 0; h < call.heads; ++h) {
          const FarRow<T> row = far_row<T>(call, unit, h, j);
          if (rope) rope->turn(row.key, row.turn, false, T{1}, to + h * call.width);
          else std::copy_n(row.key, call.width, to + h * call.width);
          std::copy_n(row.value, call.width, to + call.inner() + h * call.width);
        }
    });
  });
}

}  // namespace tessera::cpu
