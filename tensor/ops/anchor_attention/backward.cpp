#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/anchor_attention/blocks.h"
#include "tensor/ops/attention/scores.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kTileScores = 4096;  // probabilities of one tile: 16 KiB in f32, and as many gradients

template <class T>
struct BackwardBuffers {
  StripBuffers<T> strip;
  Buffer<T> far_keys, far_keys_t, far_values, far_values_t, dfar_keys, dfar_values, values_t, outs, delta, log_sum, p,
      ds, own_p, own_ds, dq, dk, dv;
};

template <class T>
struct BackwardRows {
  const T *y, *dy, *log_sum;
  T *dqkv, *danchors;  // danchors: null where the anchors are the blocks' own rows, or nobody asks
};

// One head of one sequence. Strips run from the newest to the oldest: when a strip's turn comes, all that later blocks
// add to its anchors is there.
template <class T>
class Backward {
 public:
  Backward(const BlockAttention& call, const BlockAttention::Unit& unit, std::int64_t head, const RotaryTable<T>* rope,
           const BackwardRows<T>& rows, BackwardBuffers<T>& buffers)
      : call_(call),
        unit_(unit),
        head_(head),
        rope_(rope),
        rows_(rows),
        b_(buffers),
        w_(padded<T>(call.width)),
        vectors_(vectors<T>(call.width)) {
    const std::int64_t n = unit.items * call.far;
    far_ld_ = padded<T>(n);
    far_keys_ = b_.far_keys.take(far_ld_ * w_);
    T* values = b_.far_values.take(far_ld_ * w_);
    pack_far(call, unit, head, rope, far_keys_, values);
    far_keys_t_ = b_.far_keys_t.take(call.width * far_ld_);
    transpose_block(far_keys_, n, call.width, far_keys_t_);
    far_values_t_ = b_.far_values_t.take(call.width * far_ld_);
    transpose_block(values, n, call.width, far_values_t_);
    dfar_keys_ = b_.dfar_keys.take(n * w_);
    dfar_values_ = b_.dfar_values.take(n * w_);
    std::fill_n(dfar_keys_, n * w_, T{0});
    std::fill_n(dfar_values_, n * w_, T{0});
    const std::int64_t queries = kStrip * call.queries, rows_most = kStrip * call.block;
    tile_ =
        std::clamp<std::int64_t>(kTileScores / queries / simd::kLanes<T>, 1, 128 / simd::kLanes<T>) * simd::kLanes<T>;
    row_ = tile_ + simd::kLanes<T>;  // not a power of two: rows fall into different cache sets
    own_ld_ = padded<T>(rows_most) + 2 * simd::kLanes<T>;
    p_ = b_.p.take(queries * row_);
    ds_ = b_.ds.take(queries * row_);
    own_p_ = b_.own_p.take(2 * kBlockRows * own_ld_);
    own_ds_ = b_.own_ds.take(2 * kBlockRows * own_ld_);
  }

  void run() {
    const std::int64_t strips = (unit_.end - unit_.begin + kStrip - 1) / kStrip;
    for (std::int64_t s = strips - 1; s >= 0; --s) {
      const std::int64_t first = unit_.begin + s * kStrip;
      pack(first, std::min(kStrip, unit_.end - first));
      const std::int64_t most =
          strip_.seen[strip_.blocks - 1] * (call_.tokens_see || call_.anchors_see ? call_.far : 0);
      if (most == 0) std::fill_n(dq_, strip_.queries * w_, T{0});
      for (std::int64_t j = 0; j < most; j += tile_) {
        const std::int64_t keys = std::min(tile_, most - j);
        for (std::int64_t i = 0; i < strip_.queries; i += kBlockRows) {
          if (j == 0 && s > 0) fetch_ahead(i, first - kStrip);
          far_queries(i, std::min<std::int64_t>(kBlockRows, strip_.queries - i), j, keys);
        }
        far_keys(j, keys);
      }
      for (std::int64_t i = 0; i < strip_.queries; i += kBlockRows)
        own(i, std::min<std::int64_t>(kBlockRows, strip_.queries - i));
      unpack(s * kStrip);
    }
  }

 private:
  void pack(std::int64_t first, std::int64_t count) {
    strip_ = pack_strip(call_, head_, rope_, call_.at.data() + first, call_.seen.data() + first, count, b_.strip);
    values_t_ = b_.values_t.take(call_.width * strip_.ld);
    transpose_block(strip_.v, strip_.ld, call_.width, values_t_);
    const std::int64_t n = strip_.queries, inner = call_.inner(), at = head_ * call_.width;
    const std::int64_t row = strip_.at[0] * call_.queries;  // blocks of a sequence stand in order
    outs_ = b_.outs.take(n * w_);
    pack_rows<T>(rows_.dy + row * inner + at, inner, n, call_.width, T{1}, nullptr, 0, outs_);
    delta_ = b_.delta.take(n);
    log_sum_ = b_.log_sum.take(n);
    for (std::int64_t i = 0; i < n; ++i) {
      const T* o = rows_.y + (row + i) * inner + at;
      simd::Vec<T> dot{};
      simd::for_vectors<T>(
          call_.width, [&](std::int64_t d) { dot += simd::load(o + d) * simd::load(outs_ + i * w_ + d); },
          [&](std::int64_t d, std::int64_t rest) {
            dot += simd::load_part(o + d, rest) * simd::load(outs_ + i * w_ + d);
          });
      delta_[i] = simd::sum<T>(dot);
      log_sum_[i] = rows_.log_sum[(row + i) * call_.heads + head_];
    }
    dq_ = b_.dq.take(n * w_);
    dk_ = b_.dk.take(strip_.rows * w_);
    dv_ = b_.dv.take(strip_.rows * w_);
    std::fill_n(dk_, strip_.rows * w_, T{0});
    std::fill_n(dv_, strip_.rows * w_, T{0});
  }

  // The strip before, which comes next.
  [[gnu::always_inline]] void fetch_ahead(std::int64_t i, std::int64_t first) const {
    const std::int64_t inner = call_.inner(), at = head_ * call_.width;
    share_of_next(i, strip_.queries, call_.at.data() + first, kStrip, [&](std::int64_t block) {
      const std::int64_t row = block * call_.block * 3 * inner + at, asks = block * call_.queries * inner + at;
      for (std::int64_t part = 0; part < 3; ++part) {
        fetch(call_.qkv.template data<T>() + row + part * inner, 3 * inner, call_.block, call_.width);
        fetch<true>(rows_.dqkv + row + part * inner, 3 * inner, call_.block, call_.width);
      }
      fetch(rows_.y + asks, inner, call_.queries, call_.width);
      fetch(rows_.dy + asks, inner, call_.queries, call_.width);
    });
  }

  std::int64_t far_end(std::int64_t query) const {
    return call_.sees(call_.slot(query), strip_.seen[query / call_.queries]);
  }

  // p: scores -> probabilities; ds: dp -> gradients of the scores. `visible` of n vectors count, up to `all` are zeros.
  void score_row(std::int64_t query, std::int64_t n, std::int64_t all, std::int64_t visible, const T* s, const T* dp,
                 T* p, T* ds) const {
    using simd::Vec;
    constexpr int kLanes = simd::kLanes<T>;
    const T log_sum = log_sum_[query], delta = delta_[query];
    const std::int64_t used = visible > 0 ? n : 0;
    for (std::int64_t v = 0; v < used; ++v) {
      const std::int64_t at = v * kLanes;
      Vec<T> e = simd::exp(simd::load(s + at) - log_sum), g = e * (simd::load(dp + at) - delta);
      if (visible < at + kLanes) {
        const auto in = lane_numbers<T>() < static_cast<T>(visible - at);
        e = in ? e : Vec<T>{};
        g = in ? g : Vec<T>{};
      }
      simd::store(p + at, e);
      simd::store(ds + at, g);
    }
    for (std::int64_t v = used; v < all; ++v) {
      simd::store(p + v * kLanes, Vec<T>{});
      simd::store(ds + v * kLanes, Vec<T>{});
    }
  }

  // p and ds of m queries and a tile of far keys, and their part of dq.
  void far_queries(std::int64_t i, std::int64_t m, std::int64_t j, std::int64_t keys) {
    std::int64_t seen = 0;
    for (std::int64_t r = 0; r < m; ++r) seen = std::max(seen, far_end(i + r));
    seen = std::clamp<std::int64_t>(seen - j, 0, keys);
    const std::int64_t n = vectors<T>(seen), all = vectors<T>(keys);
    T *p = p_ + i * row_, *ds = ds_ + i * row_;
    product<T>(m, n, call_.width, {strip_.q + i * w_, w_, 1}, far_keys_t_ + j, far_ld_, p, row_, false);
    product<T>(m, n, call_.width, {outs_ + i * w_, w_, 1}, far_values_t_ + j, far_ld_, ds, row_, false);
    for (std::int64_t r = 0; r < m; ++r)
      score_row(i + r, n, all, std::min(seen, far_end(i + r) - j), p + r * row_, ds + r * row_, p + r * row_,
                ds + r * row_);
    product<T>(m, vectors_, seen, {ds, row_, 1}, far_keys_ + j * w_, w_, dq_ + i * w_, w_, j > 0);
  }

  // The tile's part of what far keys and values get: each group of keys meets the queries that may see it.
  void far_keys(std::int64_t j, std::int64_t keys) {
    for (std::int64_t c = 0; c < keys; c += kBlockRows) {
      const std::int64_t m = std::min<std::int64_t>(kBlockRows, keys - c);
      const std::int64_t later = (j + c) / call_.far + 1 - strip_.seen[0];  // the first block behind the key's
      const std::int64_t r = std::max<std::int64_t>(0, later) * call_.queries;
      if (r >= strip_.queries) break;
      product<T>(m, vectors_, strip_.queries - r, {p_ + r * row_ + c, 1, row_}, outs_ + r * w_, w_,
                 dfar_values_ + (j + c) * w_, w_, true);
      product<T>(m, vectors_, strip_.queries - r, {ds_ + r * row_ + c, 1, row_}, strip_.q + r * w_, w_,
                 dfar_keys_ + (j + c) * w_, w_, true);
    }
  }

  // Queries i .. i + m - 1 and their own blocks.
  void own(std::int64_t i, std::int64_t m) {
    const auto [lo, hi] = own_range(call_, i, m);
    const std::int64_t n = vectors<T>(hi - lo), keys = hi - lo;
    T *s = own_p_ + kBlockRows * own_ld_, *dp = own_ds_ + kBlockRows * own_ld_;
    product<T>(m, n, call_.width, {strip_.q + i * w_, w_, 1}, strip_.keys_t + lo, strip_.ld, s, own_ld_, false);
    product<T>(m, n, call_.width, {outs_ + i * w_, w_, 1}, values_t_ + lo, strip_.ld, dp, own_ld_, false);
    for (std::int64_t r = 0; r < m; ++r) {
      std::fill_n(own_p_ + r * own_ld_, padded<T>(keys), T{0});
      std::fill_n(own_ds_ + r * own_ld_, padded<T>(keys), T{0});
      const std::int64_t place = r * own_ld_ + (i + r) / call_.queries * call_.block - lo;
      const std::int64_t seen = call_.own(call_.slot(i + r));
      score_row(i + r, vectors<T>(seen), 0, seen, s + place, dp + place, own_p_ + place, own_ds_ + place);
    }
    product<T>(m, vectors_, keys, {own_ds_, own_ld_, 1}, strip_.k + lo * w_, w_, dq_ + i * w_, w_, true);
    product<T>(keys, vectors_, m, {own_p_, 1, own_ld_}, outs_ + i * w_, w_, dv_ + lo * w_, w_, true);
    product<T>(keys, vectors_, m, {own_ds_, 1, own_ld_}, strip_.q + i * w_, w_, dk_ + lo * w_, w_, true);
  }

  // Gradients of the strip's rows, the first of which is block `first` of the sequence.
  void unpack(std::int64_t first) {
    const std::int64_t inner = call_.inner(), stride = 3 * inner, at = head_ * call_.width, block = call_.block,
                       asks = call_.queries;
    const T scale = static_cast<T>(call_.scale);
    for (std::int64_t b = 0; b < strip_.blocks; ++b) {
      T* row = rows_.dqkv + strip_.at[b] * block * stride + at;
      const std::int64_t turn = strip_.seen[b] * block;
      for (std::int64_t s = 0; s < block - asks; ++s) std::fill_n(row + s * stride, call_.width, T{0});
      unpack_rows(dq_ + b * asks * w_, asks, call_.width, T{1}, rope_, turn + block - asks,
                  row + (block - asks) * stride, stride);
      for (std::int64_t f = 0; f < call_.far; ++f) {
        const std::int64_t slot = call_.far == 1 ? block - 1 : f, j = (first + b) * call_.far + f;
        if (call_.anchors && slot + 1 == block) {
          if (!rows_.danchors) continue;
          T* to = rows_.danchors + strip_.at[b] * 2 * inner + at;
          unpack_rows(dfar_keys_ + j * w_, 1, call_.width, scale, rope_, turn + slot, to, 0);
          unpack_rows<T>(dfar_values_ + j * w_, 1, call_.width, T{1}, nullptr, 0, to + inner, 0);
        } else {
          for (std::int64_t d = 0; d < w_; ++d) {
            dk_[(b * block + slot) * w_ + d] += dfar_keys_[j * w_ + d];
            dv_[(b * block + slot) * w_ + d] += dfar_values_[j * w_ + d];
          }
        }
      }
      unpack_rows(dk_ + b * block * w_, block, call_.width, scale, rope_, turn, row + inner, stride);
      unpack_rows<T>(dv_ + b * block * w_, block, call_.width, T{1}, nullptr, 0, row + 2 * inner, stride);
    }
  }

  const BlockAttention& call_;
  const BlockAttention::Unit& unit_;
  std::int64_t head_;
  const RotaryTable<T>* rope_;
  const BackwardRows<T>& rows_;
  BackwardBuffers<T>& b_;
  std::int64_t w_, vectors_, far_ld_, tile_, row_, own_ld_;
  T *far_keys_, *far_keys_t_, *far_values_t_, *dfar_keys_, *dfar_values_, *p_, *ds_, *own_p_, *own_ds_;
  T *values_t_, *outs_, *delta_, *log_sum_, *dq_, *dk_, *dv_;
  Strip<T> strip_;
};

}  // namespace

void anchor_backward(const BlockAttention& call, const Tensor& y, const Tensor& log_sum, const Tensor& dy, Tensor& dqkv,
                     Tensor& danchors) {
  dispatch_float("anchor_attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = block_rotary<T>(call.positions, call.width, call.block, call.longest());
    const std::vector<std::int64_t> tiles = tiles_of(call);
    const BackwardRows<T> rows{y.data<T>(), dy.data<T>(), log_sum.data<T>(), dqkv.data<T>(),
                               danchors ? danchors.data<T>() : nullptr};
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      thread_local BackwardBuffers<T> buffers;
      for (std::int64_t i = tiles[static_cast<std::size_t>(tile)]; i < tiles[static_cast<std::size_t>(tile) + 1]; ++i)
        Backward<T>(call, call.units[static_cast<std::size_t>(i / call.heads)], i % call.heads, rope.get(), rows,
                    buffers)
            .run();
    });
  });
}

}  // namespace tessera::cpu
