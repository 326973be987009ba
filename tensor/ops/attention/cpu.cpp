#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/attention/jagged.h"
#include "tensor/ops/attention/pack.h"
#include "tensor/ops/attention/scores.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kForwardKeys = 256;                 // scores of kBlockRows queries and so many keys at a time
constexpr std::int64_t kBackwardQueries = 4 * kBlockRows;  // probabilities and their gradients of one block: 2 x 18 KiB in f32
constexpr std::int64_t kBackwardKeys = 128;

// Units of work (sequence, head), head running first, cut into tiles of about equal cost.
std::vector<std::int64_t> tiles_of(const JaggedAttention& call) {
  constexpr std::int64_t kCost = 60000;
  std::vector<std::int64_t> begin = {0};
  std::int64_t cost = 0;
  for (std::int64_t unit = 0; unit < call.sequences() * call.heads; ++unit) {
    const auto b = static_cast<std::size_t>(unit / call.heads);
    const std::int64_t queries = call.q_offset[b + 1] - call.q_offset[b], keys = call.k_offset[b + 1] - call.k_offset[b];
    if (cost >= kCost) {
      begin.push_back(unit);
      cost = 0;
    }
    cost += queries * keys + 16 * (queries + keys) + 64;
  }
  begin.push_back(call.sequences() * call.heads);
  return begin;
}

// One head of one sequence.
template <class T>
struct Unit {
  std::int64_t first_query, first_key, queries, keys;
  int head;
  PrefixMask mask;
  const T* bias;  // of the head by distance, or null

  Unit(const JaggedAttention& call, const std::vector<T>& spread, std::int64_t unit) : head(static_cast<int>(unit % call.heads)) {
    const auto b = static_cast<std::size_t>(unit / call.heads);
    first_query = call.q_offset[b];
    first_key = call.k_offset[b];
    queries = call.q_offset[b + 1] - first_query;
    keys = call.k_offset[b + 1] - first_key;
    mask = {call.mask == AttentionMask::causal, queries, keys};
    bias = spread.empty() ? nullptr : spread.data() + head * call.distances.width();
  }
};

// Rows of a sequence lie far apart in memory (all heads of q, k and v side by side), so that a head alone is read at the speed of
// cache misses. While one unit computes, the rows of the next one are fetched into the second cache, a few at a time.
template <class T>
class Ahead {
 public:
  Ahead(const JaggedAttention& call, const std::vector<T>& spread, std::int64_t unit)
      : call_(call), unit_(call, spread, std::min(unit + 1, call.sequences() * call.heads - 1)) {}

  void keys(const Columns& x, std::int64_t width, std::int64_t i, std::int64_t m) const {
    fetch<false>(x, unit_.first_key, unit_.keys, width, i, m);
  }
  void queries(const Columns& x, std::int64_t width, std::int64_t i, std::int64_t m) const {
    fetch<false>(x, unit_.first_query, unit_.queries, width, i, m);
  }
  void key_gradients(const Columns& x, std::int64_t width, std::int64_t i, std::int64_t m) const {
    if (x) fetch<true>(x, unit_.first_key, unit_.keys, width, i, m);
  }
  void query_gradients(const Columns& x, std::int64_t width, std::int64_t i, std::int64_t m) const {
    if (x) fetch<true>(x, unit_.first_query, unit_.queries, width, i, m);
  }

 private:
  template <bool kWrite>
  void fetch(const Columns& x, std::int64_t first, std::int64_t rows, std::int64_t width, std::int64_t i, std::int64_t m) const {
    constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
    const T* row = x.row<T>(first + i) + unit_.head * width;
    for (std::int64_t r = i; r < std::min(i + m, rows); ++r, row += x.stride())
      for (std::int64_t d = 0; d < width; d += kLine) __builtin_prefetch(row + d, kWrite, 2);
  }

  const JaggedAttention& call_;
  Unit<T> unit_;
};

template <class T>
struct ForwardBuffers {
  Buffer<T> queries, keys, keys_t, values, scores, out;
};

template <class T>
class Forward {
 public:
  Forward(const JaggedAttention& call, const RotaryTable<T>* rope, const Unit<T>& unit, ForwardBuffers<T>& buffers)
      : call_(call), unit_(unit), width_(call.key_width), out_width_(padded<T>(call.value_width)), keys_ld_(padded<T>(unit.keys)) {
    T* keys = buffers.keys.take(keys_ld_ * padded<T>(width_));
    pack_block(call.k.row<T>(unit.first_key) + unit.head * width_, call.k.stride(), unit.keys, width_, static_cast<T>(call.scale), rope,
               0, keys);
    keys_t_ = buffers.keys_t.take(width_ * keys_ld_);
    transpose_block(keys, unit.keys, width_, keys_t_);
    values_ = buffers.values.take(unit.keys * out_width_);
    pack_rows<T>(call.v.row<T>(unit.first_key) + unit.head * call.value_width, call.v.stride(), unit.keys, call.value_width, T{1},
                 nullptr, 0, values_);
    q_ = call.q.row<T>(unit.first_query) + unit.head * width_;
    q_ld_ = call.q.stride();
    if (rope) {
      T* queries = buffers.queries.take(unit.queries * padded<T>(width_));
      pack_rows(q_, q_ld_, unit.queries, width_, T{1}, rope, unit.mask.shift(), queries);
      q_ = queries;
      q_ld_ = padded<T>(width_);
    }
    scores_ = buffers.scores.take(kBlockRows * kForwardKeys);
    out_ = buffers.out.take(kBlockRows * out_width_);
  }

  void run(const Ahead<T>& ahead, Tensor& y, Tensor& log_sum) {
    T* to = y.data<T>() + unit_.first_query * y.columns() + unit_.head * call_.value_width;
    T* keep = log_sum.data<T>() + unit_.first_query * call_.heads + unit_.head;
    for (std::int64_t i = 0; i < unit_.queries; i += kBlockRows) {
      const std::int64_t m = std::min<std::int64_t>(kBlockRows, unit_.queries - i);
      ahead.keys(call_.k, width_, i, m);
      ahead.keys(call_.v, call_.value_width, i, m);
      ahead.queries(call_.q, width_, i, m);
      ahead.query_gradients({y}, call_.value_width, i, m);
      attend(i, m);
      for (std::int64_t r = 0; r < m; ++r, to += y.columns(), keep += call_.heads) {
        copy_scaled(out_ + r * out_width_, call_.value_width, sum_[r] > T{0} ? T{1} / sum_[r] : T{0}, to);
        *keep = top_[r] + std::log(sum_[r]);
      }
    }
  }

 private:
  // Queries i .. i + m - 1 against all their keys.
  void attend(std::int64_t i, std::int64_t m) {
    constexpr std::int64_t ld = kForwardKeys;
    std::fill_n(top_, m, std::numeric_limits<T>::lowest());
    std::fill_n(sum_, m, T{0});
    const std::int64_t end = unit_.mask.end(i + m - 1);
    if (end <= 0) std::fill_n(out_, m * out_width_, T{0});
    for (std::int64_t j = 0; j < end; j += kForwardKeys) {
      const std::int64_t keys = std::min(kForwardKeys, end - j), n = vectors<T>(keys);
      product<T>(m, n, width_, {q_ + i * q_ld_, q_ld_, 1}, keys_t_ + j, keys_ld_, scores_, ld, false);
      for (std::int64_t r = 0; r < m; ++r) {
        const T* bias = unit_.bias ? unit_.bias + call_.distances.at(j - (i + r + unit_.mask.shift())) : nullptr;
        const T factor = softmax_row(scores_ + r * ld, n, std::min(keys, unit_.mask.end(i + r) - j), bias, top_[r], sum_[r]);
        if (j > 0 && factor != T{1})
          for (std::int64_t d = 0; d < out_width_; ++d) out_[r * out_width_ + d] *= factor;
      }
      product<T>(m, vectors<T>(call_.value_width), keys, {scores_, ld, 1}, values_ + j * out_width_, out_width_, out_, out_width_,
                 j > 0);
    }
  }

  const JaggedAttention& call_;
  const Unit<T>& unit_;
  std::int64_t width_, out_width_, keys_ld_, q_ld_;
  const T* q_;
  T *keys_t_, *values_, *scores_, *out_;
  T top_[kBlockRows], sum_[kBlockRows];
};

template <class T>
struct BackwardBuffers {
  Buffer<T> queries, keys, keys_t, values, values_t, outs, delta, p, ds, dq, dk, dv, dbias;
};

template <class T>
class Backward {
 public:
  Backward(const JaggedAttention& call, const RotaryTable<T>* rope, const Unit<T>& unit, BackwardBuffers<T>& buffers)
      : call_(call), rope_(rope), unit_(unit), b_(buffers), width_(padded<T>(call.key_width)), out_width_(padded<T>(call.value_width)),
        keys_ld_(padded<T>(unit.keys)) {}

  void pack(const Tensor& y, const Tensor& log_sum, const Tensor& dy) {
    const std::int64_t nq = unit_.queries, nk = unit_.keys, dk = call_.key_width, dv = call_.value_width;
    q_ = b_.queries.take(nq * width_);
    pack_rows(call_.q.row<T>(unit_.first_query) + unit_.head * dk, call_.q.stride(), nq, dk, T{1}, rope_, unit_.mask.shift(), q_);
    k_ = b_.keys.take(keys_ld_ * width_);
    pack_block(call_.k.row<T>(unit_.first_key) + unit_.head * dk, call_.k.stride(), nk, dk, static_cast<T>(call_.scale), rope_, 0, k_);
    keys_t_ = b_.keys_t.take(dk * keys_ld_);
    transpose_block(k_, nk, dk, keys_t_);
    T* values = b_.values.take(keys_ld_ * out_width_);
    pack_block<T>(call_.v.row<T>(unit_.first_key) + unit_.head * dv, call_.v.stride(), nk, dv, T{1}, nullptr, 0, values);
    values_t_ = b_.values_t.take(dv * keys_ld_);
    transpose_block(values, nk, dv, values_t_);
    outs_ = b_.outs.take(nq * out_width_);
    pack_rows<T>(dy.data<T>() + unit_.first_query * dy.columns() + unit_.head * dv, dy.columns(), nq, dv, T{1}, nullptr, 0, outs_);
    delta_ = b_.delta.take(nq);
    const T* o = y.data<T>() + unit_.first_query * y.columns() + unit_.head * dv;
    for (std::int64_t i = 0; i < nq; ++i, o += y.columns()) {
      simd::Vec<T> dot{};
      simd::for_vectors<T>(
          dv, [&](std::int64_t d) { dot += simd::load(o + d) * simd::load(outs_ + i * out_width_ + d); },
          [&](std::int64_t d, std::int64_t rest) { dot += simd::load_part(o + d, rest) * simd::load(outs_ + i * out_width_ + d); });
      delta_[i] = simd::sum<T>(dot);
    }
    log_sum_ = log_sum.data<T>() + unit_.first_query * call_.heads + unit_.head;
    p_ = b_.p.take(kBackwardQueries * kRow);
    ds_ = b_.ds.take(kBackwardQueries * kRow);
    dq_ = b_.dq.take(nq * width_);
    dk_ = b_.dk.take(nk * width_);
    dv_ = b_.dv.take(nk * out_width_);
    std::fill_n(dk_, nk * width_, T{0});
    std::fill_n(dv_, nk * out_width_, T{0});
    dbias_ = nullptr;
    if (unit_.bias) {
      dbias_ = b_.dbias.take(call_.distances.width());
      std::fill_n(dbias_, call_.distances.width(), T{0});
    }
  }

  template <class Fetch>
  void run(Fetch&& fetch) {
    for (std::int64_t i = 0; i < unit_.queries; i += kBackwardQueries) {
      const std::int64_t rows = std::min(kBackwardQueries, unit_.queries - i), end = unit_.mask.end(i + rows - 1);
      if (end <= 0) std::fill_n(dq_ + i * width_, rows * width_, T{0});
      for (std::int64_t j = 0; j < end; j += kBackwardKeys) {
        const std::int64_t keys = std::min(kBackwardKeys, end - j);
        for (std::int64_t r = 0; r < rows; r += kBlockRows) {
          if (j == 0) fetch(i + r);
          query_side(i + r, std::min<std::int64_t>(kBlockRows, rows - r), j, keys, p_ + r * kRow, ds_ + r * kRow);
        }
        key_side(i, rows, j, keys);
      }
    }
  }

  void unpack(const Columns& dq, const Columns& dk, const Columns& dv, T* bucket_gradient) {
    const std::int64_t key_width = call_.key_width, value_width = call_.value_width;
    if (dq)
      unpack_rows(dq_, unit_.queries, key_width, T{1}, rope_, unit_.mask.shift(),
                  dq.row<T>(unit_.first_query) + unit_.head * key_width, dq.stride());
    if (dk)
      unpack_rows(dk_, unit_.keys, key_width, static_cast<T>(call_.scale), rope_, 0,
                  dk.row<T>(unit_.first_key) + unit_.head * key_width, dk.stride());
    if (dv)
      unpack_rows<T>(dv_, unit_.keys, value_width, T{1}, nullptr, 0, dv.row<T>(unit_.first_key) + unit_.head * value_width, dv.stride());
    if (dbias_ && bucket_gradient) call_.distances.collect(dbias_, unit_.head, bucket_gradient);
  }

 private:
  static constexpr std::int64_t kRow = kBackwardKeys + simd::kLanes<T>;  // not a power of two: rows fall into different cache sets

  // p and ds of m queries and a block of keys, and their part of dq.
  void query_side(std::int64_t i, std::int64_t m, std::int64_t j, std::int64_t keys, T* p, T* ds) {
    const std::int64_t seen = std::clamp<std::int64_t>(unit_.mask.end(i + m - 1) - j, 0, keys), n = vectors<T>(seen);
    product<T>(m, n, call_.key_width, {q_ + i * width_, width_, 1}, keys_t_ + j, keys_ld_, p, kRow, false);
    product<T>(m, n, call_.value_width, {outs_ + i * out_width_, out_width_, 1}, values_t_ + j, keys_ld_, ds, kRow, false);
    for (std::int64_t r = 0; r < m; ++r)
      score_row(i + r, j, n, vectors<T>(keys), std::min(seen, unit_.mask.end(i + r) - j), p + r * kRow, ds + r * kRow);
    product<T>(m, vectors<T>(call_.key_width), seen, {ds, kRow, 1}, k_ + j * width_, width_, dq_ + i * width_, width_, j > 0);
  }

  // p: score -> probability; ds: dp -> gradient of the score. Zeros past what the query sees, up to `all` vectors.
  void score_row(std::int64_t i, std::int64_t j, std::int64_t n, std::int64_t all, std::int64_t visible, T* p, T* ds) {
    using simd::Vec;
    constexpr int kLanes = simd::kLanes<T>;
    const std::int64_t used = visible > 0 ? n : 0;
    const std::int64_t place = unit_.bias ? call_.distances.at(j - (i + unit_.mask.shift())) : 0;
    const T log_sum = log_sum_[i * call_.heads], delta = delta_[i];
    for (std::int64_t v = 0; v < used; ++v) {
      const std::int64_t at = v * kLanes;
      Vec<T> s = simd::load(p + at) - log_sum;
      if (unit_.bias) s += simd::load(unit_.bias + place + at);
      Vec<T> e = simd::exp(s);
      if (visible < at + kLanes) e = lane_numbers<T>() < static_cast<T>(visible - at) ? e : Vec<T>{};
      const Vec<T> g = e * (simd::load(ds + at) - delta);
      simd::store(p + at, e);
      simd::store(ds + at, g);
      if (dbias_) simd::store(dbias_ + place + at, simd::load(dbias_ + place + at) + g);
    }
    for (std::int64_t v = used; v < all; ++v) {
      simd::store(p + v * kLanes, Vec<T>{});
      simd::store(ds + v * kLanes, Vec<T>{});
    }
  }

  // The block's part of dk and dv: each group of keys meets the queries that see it.
  void key_side(std::int64_t i, std::int64_t rows, std::int64_t j, std::int64_t keys) {
    for (std::int64_t c = 0; c < keys; c += kBlockRows) {
      const std::int64_t m = std::min<std::int64_t>(kBlockRows, keys - c);
      const std::int64_t r = std::max<std::int64_t>(0, unit_.mask.first_query(j + c) - i);
      if (r >= rows) break;
      product<T>(m, vectors<T>(call_.value_width), rows - r, {p_ + r * kRow + c, 1, kRow}, outs_ + (i + r) * out_width_, out_width_,
                 dv_ + (j + c) * out_width_, out_width_, true);
      product<T>(m, vectors<T>(call_.key_width), rows - r, {ds_ + r * kRow + c, 1, kRow}, q_ + (i + r) * width_, width_,
                 dk_ + (j + c) * width_, width_, true);
    }
  }

  const JaggedAttention& call_;
  const RotaryTable<T>* rope_;
  const Unit<T>& unit_;
  BackwardBuffers<T>& b_;
  std::int64_t width_, out_width_, keys_ld_;
  T *q_, *k_, *keys_t_, *values_t_, *outs_, *delta_, *p_, *ds_, *dq_, *dk_, *dv_, *dbias_;
  const T* log_sum_;
};

std::int64_t longest(const JaggedAttention& call) {
  std::int64_t most = 1;
  for (std::size_t b = 0; b + 1 < call.q_offset.size(); ++b)
    most = std::max({most, call.q_offset[b + 1] - call.q_offset[b], call.k_offset[b + 1] - call.k_offset[b]});
  return most;
}

}  // namespace

void attention_forward(const JaggedAttention& call, Tensor& y, Tensor& log_sum) {
  dispatch_float("attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = rotary_table<T>(call.rope_base, call.key_width, longest(call));
    const std::vector<T> spread = call.bias ? call.distances.spread<T>(call.bias) : std::vector<T>();
    const std::vector<std::int64_t> tiles = tiles_of(call);
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      thread_local ForwardBuffers<T> buffers;
      for (auto unit = tiles[static_cast<std::size_t>(tile)]; unit < tiles[static_cast<std::size_t>(tile) + 1]; ++unit) {
        const Unit<T> one(call, spread, unit);
        if (one.queries > 0) Forward<T>(call, rope.get(), one, buffers).run(Ahead<T>(call, spread, unit), y, log_sum);
      }
    });
  });
}

void attention_backward(const JaggedAttention& call, const Tensor& y, const Tensor& log_sum, const Tensor& dy, const Columns& dq,
                        const Columns& dk, const Columns& dv, Tensor& dbias) {
  dispatch_float("attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = rotary_table<T>(call.rope_base, call.key_width, longest(call));
    const std::vector<T> spread = call.bias ? call.distances.spread<T>(call.bias) : std::vector<T>();
    const std::vector<std::int64_t> tiles = tiles_of(call);
    const std::int64_t count = static_cast<std::int64_t>(tiles.size()) - 1, size = dbias.numel();
    std::vector<T> parts(static_cast<std::size_t>(count * size));  // the bias gradient of each tile
    parallel_for(count, [&](std::int64_t tile) {
      thread_local BackwardBuffers<T> buffers;
      for (auto unit = tiles[static_cast<std::size_t>(tile)]; unit < tiles[static_cast<std::size_t>(tile) + 1]; ++unit) {
        const Unit<T> one(call, spread, unit);
        Backward<T> backward(call, rope.get(), one, buffers);
        backward.pack(y, log_sum, dy);
        const Ahead<T> ahead(call, spread, unit);
        backward.run([&](std::int64_t i) {
          ahead.keys(call.k, call.key_width, i, kBlockRows);
          ahead.keys(call.v, call.value_width, i, kBlockRows);
          ahead.queries(call.q, call.key_width, i, kBlockRows);
          ahead.queries({y}, call.value_width, i, kBlockRows);
          ahead.queries({dy}, call.value_width, i, kBlockRows);
          ahead.query_gradients(dq, call.key_width, i, kBlockRows);
          ahead.key_gradients(dk, call.key_width, i, kBlockRows);
          ahead.key_gradients(dv, call.value_width, i, kBlockRows);
        });
        backward.unpack(dq, dk, dv, size > 0 ? parts.data() + tile * size : nullptr);
      }
    });
    if (size == 0) return;
    T* to = dbias.data<T>();
    std::fill_n(to, size, T{0});
    for (std::int64_t tile = 0; tile < count; ++tile)
      for (std::int64_t i = 0; i < size; ++i) to[i] += parts[static_cast<std::size_t>(tile * size + i)];
  });
}

}  // namespace tessera::cpu
