#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/attention/pack.h"
#include "tensor/ops/attention/scores.h"
#include "tensor/ops/attention/unit.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kForwardKeys = 256;  // scores of kBlockRows queries and so many keys at a time

template <class T>
struct ForwardBuffers {
  Buffer<T> queries, keys, keys_t, values, scores, out;
};

template <class T>
struct ForwardRows {
  Rows<T> q, k, v, y;
  T* log_sum;  // (Nq, H)
};

template <class T>
class Forward {
 public:
  Forward(const JaggedAttention& call, const ForwardRows<T>& rows, const RotaryTable<T>* rope, const Unit<T>& unit,
          ForwardBuffers<T>& buffers)
      : call_(call),
        rows_(rows),
        unit_(unit),
        width_(call.key_width),
        out_width_(padded<T>(call.value_width)),
        keys_ld_(padded<T>(unit.keys)) {
    T* keys = buffers.keys.take(keys_ld_ * padded<T>(width_));
    pack_block(rows.k.at(unit.first_key, unit.head), rows.k.stride, unit.keys, width_, static_cast<T>(call.scale), rope,
               0, keys);
    keys_t_ = buffers.keys_t.take(width_ * keys_ld_);
    transpose_block(keys, unit.keys, width_, keys_t_);
    values_ = buffers.values.take(unit.keys * out_width_);
    pack_rows<T>(rows.v.at(unit.first_key, unit.head), rows.v.stride, unit.keys, call.value_width, T{1}, nullptr, 0,
                 values_);
    q_ = rows.q.at(unit.first_query, unit.head);
    q_ld_ = rows.q.stride;
    if (rope) {
      T* queries = buffers.queries.take(unit.queries * padded<T>(width_));
      pack_rows(q_, q_ld_, unit.queries, width_, T{1}, rope, unit.mask.shift(), queries);
      q_ = queries;
      q_ld_ = padded<T>(width_);
    }
    scores_ = buffers.scores.take(kBlockRows * kForwardKeys);
    out_ = buffers.out.take(kBlockRows * out_width_);
  }

  void run(const Unit<T>& next) {
    T* to = rows_.y.at(unit_.first_query, unit_.head);
    T* keep = rows_.log_sum + unit_.first_query * call_.heads + unit_.head;
    for (std::int64_t i = 0; i < unit_.queries; i += kBlockRows) {
      const std::int64_t m = std::min<std::int64_t>(kBlockRows, unit_.queries - i);
      fetch(rows_.k, next.first_key, next.keys, next.head, i, m);
      fetch(rows_.v, next.first_key, next.keys, next.head, i, m);
      fetch(rows_.q, next.first_query, next.queries, next.head, i, m);
      fetch<true>(rows_.y, next.first_query, next.queries, next.head, i, m);
      attend(i, m);
      for (std::int64_t r = 0; r < m; ++r, to += rows_.y.stride, keep += call_.heads) {
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
        const T factor =
            softmax_row(scores_ + r * ld, n, std::min(keys, unit_.mask.end(i + r) - j), bias, top_[r], sum_[r]);
        if (j > 0 && factor != T{1})
          for (std::int64_t d = 0; d < out_width_; ++d) out_[r * out_width_ + d] *= factor;
      }
      product<T>(m, vectors<T>(call_.value_width), keys, {scores_, ld, 1}, values_ + j * out_width_, out_width_, out_,
                 out_width_, j > 0);
    }
  }

  const JaggedAttention& call_;
  const ForwardRows<T>& rows_;
  const Unit<T>& unit_;
  std::int64_t width_, out_width_, keys_ld_, q_ld_;
  const T* q_;
  T *keys_t_, *values_, *scores_, *out_;
  T top_[kBlockRows], sum_[kBlockRows];
};

}  // namespace

void attention_forward(const JaggedAttention& call, Tensor& y, Tensor& log_sum) {
  dispatch_float("attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto rope = rotary_table<T>(call.rope_base, call.key_width, longest_sequence(call));
    const std::vector<T> spread = call.bias ? call.distances.spread<T>(call.bias) : std::vector<T>();
    const std::vector<std::int64_t> tiles = tiles_of(call);
    const ForwardRows<T> rows{{call.q, call.key_width},
                              {call.k, call.key_width},
                              {call.v, call.value_width},
                              {{y}, call.value_width},
                              log_sum.data<T>()};
    parallel_for(static_cast<std::int64_t>(tiles.size()) - 1, [&](std::int64_t tile) {
      thread_local ForwardBuffers<T> buffers;
      for_units<T>(call, spread, tiles, tile, [&](const Unit<T>& unit, const Unit<T>& next) {
        if (unit.queries > 0) Forward<T>(call, rows, rope.get(), unit, buffers).run(next);
      });
    });
  });
}

}  // namespace tessera::cpu
