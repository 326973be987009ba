#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/attention/pack.h"
#include "tensor/ops/attention/scores.h"
#include "tensor/ops/attention/unit.h"

namespace tessera::cpu {
namespace {

// Probabilities and their gradients of one block: 2 x 18 KiB in f32.
constexpr std::int64_t kBackwardQueries = 4 * kBlockRows;
constexpr std::int64_t kBackwardKeys = 128;

template <class T>
struct BackwardBuffers {
  Buffer<T> queries, keys, keys_t, values, values_t, outs, delta, p, ds, dq, dk, dv, dbias;
};

template <class T>
struct BackwardRows {
  Rows<T> q, k, v, y, dy, dq, dk, dv;
  const T* log_sum;  // (Nq, H)
};

template <class T>
class Backward {
 public:
  Backward(const JaggedAttention& call, const BackwardRows<T>& rows, const RotaryTable<T>* rope, const Unit<T>& unit,
           BackwardBuffers<T>& buffers)
      : call_(call),
        rows_(rows),
        rope_(rope),
        unit_(unit),
        b_(buffers),
        width_(padded<T>(call.key_width)),
        out_width_(padded<T>(call.value_width)),
        keys_ld_(padded<T>(unit.keys)) {}

  void pack() {
    const std::int64_t nq = unit_.queries, nk = unit_.keys, dk = call_.key_width, dv = call_.value_width;
    q_ = b_.queries.take(nq * width_);
    pack_rows(rows_.q.at(unit_.first_query, unit_.head), rows_.q.stride, nq, dk, T{1}, rope_, unit_.mask.shift(), q_);
    k_ = b_.keys.take(keys_ld_ * width_);
    pack_block(rows_.k.at(unit_.first_key, unit_.head), rows_.k.stride, nk, dk, static_cast<T>(call_.scale), rope_, 0,
               k_);
    keys_t_ = b_.keys_t.take(dk * keys_ld_);
    transpose_block(k_, nk, dk, keys_t_);
    T* values = b_.values.take(keys_ld_ * out_width_);
    pack_block<T>(rows_.v.at(unit_.first_key, unit_.head), rows_.v.stride, nk, dv, T{1}, nullptr, 0, values);
    values_t_ = b_.values_t.take(dv * keys_ld_);
    transpose_block(values, nk, dv, values_t_);
    outs_ = b_.outs.take(nq * out_width_);
    pack_rows<T>(rows_.dy.at(unit_.first_query, unit_.head), rows_.dy.stride, nq, dv, T{1}, nullptr, 0, outs_);
    delta_ = b_.delta.take(nq);
    const T* o = rows_.y.at(unit_.first_query, unit_.head);
    for (std::int64_t i = 0; i < nq; ++i, o += rows_.y.stride) {
      simd::Vec<T> dot{};
      simd::for_vectors<T>(
          dv, [&](std::int64_t d) { dot += simd::load(o + d) * simd::load(outs_ + i * out_width_ + d); },
          [&](std::int64_t d, std::int64_t rest) {
            dot += simd::load_part(o + d, rest) * simd::load(outs_ + i * out_width_ + d);
          });
      delta_[i] = simd::sum<T>(dot);
    }
    log_sum_ = rows_.log_sum + unit_.first_query * call_.heads + unit_.head;
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

  void run(const Unit<T>& next) {
    for (std::int64_t i = 0; i < unit_.queries; i += kBackwardQueries) {
      const std::int64_t rows = std::min(kBackwardQueries, unit_.queries - i), end = unit_.mask.end(i + rows - 1);
      if (end <= 0) std::fill_n(dq_ + i * width_, rows * width_, T{0});
      for (std::int64_t j = 0; j < end; j += kBackwardKeys) {
        const std::int64_t keys = std::min(kBackwardKeys, end - j);
        for (std::int64_t r = 0; r < rows; r += kBlockRows) {
          if (j == 0) fetch_ahead(next, i + r);
          query_side(i + r, std::min<std::int64_t>(kBlockRows, rows - r), j, keys, p_ + r * kRow, ds_ + r * kRow);
        }
        key_side(i, rows, j, keys);
      }
    }
  }

  void unpack(T* bucket_gradient) {
    const auto &dq = rows_.dq, &dk = rows_.dk, &dv = rows_.dv;
    if (dq)
      unpack_rows(dq_, unit_.queries, dq.width, T{1}, rope_, unit_.mask.shift(), dq.at(unit_.first_query, unit_.head),
                  dq.stride);
    if (dk)
      unpack_rows(dk_, unit_.keys, dk.width, static_cast<T>(call_.scale), rope_, 0, dk.at(unit_.first_key, unit_.head),
                  dk.stride);
    if (dv) unpack_rows<T>(dv_, unit_.keys, dv.width, T{1}, nullptr, 0, dv.at(unit_.first_key, unit_.head), dv.stride);
    if (dbias_ && bucket_gradient) call_.distances.collect(dbias_, unit_.head, bucket_gradient);
  }

 private:
  static constexpr std::int64_t kRow =
      kBackwardKeys + simd::kLanes<T>;  // not a power of two: rows fall into different cache sets

  [[gnu::always_inline]] void fetch_ahead(const Unit<T>& next, std::int64_t i) const {
    for (const auto* x : {&rows_.k, &rows_.v}) fetch(*x, next.first_key, next.keys, next.head, i, kBlockRows);
    for (const auto* x : {&rows_.q, &rows_.y, &rows_.dy})
      fetch(*x, next.first_query, next.queries, next.head, i, kBlockRows);
    for (const auto* x : {&rows_.dk, &rows_.dv}) fetch<true>(*x, next.first_key, next.keys, next.head, i, kBlockRows);
    fetch<true>(rows_.dq, next.first_query, next.queries, next.head, i, kBlockRows);
  }

  // p and ds of m queries and a block of keys, and their part of dq.
  void query_side(std::int64_t i, std::int64_t m, std::int64_t j, std::int64_t keys, T* p, T* ds) {
    const std::int64_t seen = std::clamp<std::int64_t>(unit_.mask.end(i + m - 1) - j, 0, keys), n = vectors<T>(seen);
    product<T>(m, n, call_.key_width, {q_ + i * width_, width_, 1}, keys_t_ + j, keys_ld_, p, kRow, false);
    product<T>(m, n, call_.value_width, {outs_ + i * out_width_, out_width_, 1}, values_t_ + j, keys_ld_, ds, kRow,
               false);
    for (std::int64_t r = 0; r < m; ++r)
      score_row(i + r, j, n, vectors<T>(keys), std::min(seen, unit_.mask.end(i + r) - j), p + r * kRow, ds + r * kRow);
    product<T>(m, vectors<T>(call_.key_width), seen, {ds, kRow, 1}, k_ + j * width_, width_, dq_ + i * width_, width_,
               j > 0);
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
      product<T>(m, vectors<T>(call_.value_width), rows - r, {p_ + r * kRow + c, 1, kRow}, outs_ + (i + r) * out_width_,
                 out_width_, dv_ + (j + c) * out_width_, out_width_, true);
      product<T>(m, vectors<T>(call_.key_width), rows - r, {ds_ + r * kRow + c, 1, kRow}, q_ + (i + r) * width_, width_,
                 dk_ + (j + c) * width_, width_, true);
    }
  }

  const JaggedAttention& call_;
  const BackwardRows<T>& rows_;
  const RotaryTable<T>* rope_;
  const Unit<T>& unit_;
  BackwardBuffers<T>& b_;
  std::int64_t width_, out_width_, keys_ld_;
  T *q_, *k_, *keys_t_, *values_t_, *outs_, *delta_, *p_, *ds_, *dq_, *dk_, *dv_, *dbias_;
  const T* log_sum_;
};

}  // namespace

void attention_backward(const JaggedAttention& call, const Tensor& y, const Tensor& log_sum, const Tensor& dy,
                        const Columns& dq, const Columns& dk, const Columns& dv, Tensor& dbias) {
  dispatch_float("attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = rotary_table<T>(call.rope_base, call.key_width, longest_sequence(call));
    const std::vector<T> spread = call.bias ? call.distances.spread<T>(call.bias) : std::vector<T>();
    const std::vector<std::int64_t> tiles = tiles_of(call);
    const std::int64_t keys = call.key_width, values = call.value_width;
    const BackwardRows<T> rows{{call.q, keys}, {call.k, keys}, {call.v, values}, {{y}, values},    {{dy}, values},
                               {dq, keys},     {dk, keys},     {dv, values},     log_sum.data<T>()};
    const std::int64_t count = static_cast<std::int64_t>(tiles.size()) - 1, size = dbias.numel();
    std::vector<T> parts(static_cast<std::size_t>(count * size));  // the bias gradient of each tile
    parallel_for(count, [&](std::int64_t tile) {
      thread_local BackwardBuffers<T> buffers;
      for_units<T>(call, spread, tiles, tile, [&](const Unit<T>& unit, const Unit<T>& next) {
        Backward<T> backward(call, rows, rope.get(), unit, buffers);
        backward.pack();
        backward.run(next);
        backward.unpack(size > 0 ? parts.data() + tile * size : nullptr);
      });
    });
    if (size == 0) return;
    T* to = dbias.data<T>();
    std::fill_n(to, size, T{0});
    for (std::int64_t tile = 0; tile < count; ++tile)
      for (std::int64_t i = 0; i < size; ++i) to[i] += parts[static_cast<std::size_t>(tile * size + i)];
  });
}

}  // namespace tessera::cpu
