#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/attention/jagged.h"
#include "tensor/ops/attention/pack.h"
#include "tensor/ops/attention/scores.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kGroup = 64;  // continuations of one history that share its packed keys

// Continuations by history, in groups: continuation order[begin .. end) all continue `history`.
struct Group {
  std::int32_t history;
  std::int64_t begin, end;
};
struct Groups {
  std::vector<std::int64_t> order;
  std::vector<Group> all;
};

Groups group(const SharedPast& call) {
  Groups groups;
  std::vector<std::int64_t> start(call.past_offset.size() + 1, 0);
  for (const auto history : call.row) ++start[static_cast<std::size_t>(history) + 1];
  for (std::size_t b = 1; b < start.size(); ++b) start[b] += start[b - 1];
  for (std::size_t b = 0; b + 1 < start.size(); ++b)
    for (std::int64_t at = start[b]; at < start[b + 1]; at += kGroup)
      groups.all.push_back({static_cast<std::int32_t>(b), at, std::min(at + kGroup, start[b + 1])});
  groups.order.resize(call.row.size());
  for (std::size_t c = 0; c < call.row.size(); ++c)
    groups.order[static_cast<std::size_t>(start[static_cast<std::size_t>(call.row[c])]++)] =
        static_cast<std::int64_t>(c);
  return groups;
}

template <class T>
struct ExtendBuffers {
  Buffer<T> keys, keys_t, values, queries, own_keys, scores, out;
};

// One head of a group: the scores of all its queries against the shared history are small matrix products, those
// against each continuation's own rows single dot products; one softmax over both.
template <class T>
class Extension {
 public:
  Extension(const SharedPast& call, const Groups& groups, const Group& g, int head, const RotaryTable<T>* rope,
            const T* bias, ExtendBuffers<T>& buffers)
      : call_(call),
        order_(groups.order.data() + g.begin),
        count_(g.end - g.begin),
        head_(head),
        bias_(bias),
        first_(call.past_offset[static_cast<std::size_t>(g.history)]),
        past_(call.past_offset[static_cast<std::size_t>(g.history) + 1] - first_),
        width_(padded<T>(call.key_width)),
        out_width_(padded<T>(call.value_width)),
        past_ld_(padded<T>(past_)),
        row_(past_ld_ + padded<T>(call.rows)) {
    T* keys = buffers.keys.take(past_ld_ * width_);
    pack_block<T>(call.past_k.data<T>() + first_ * call.past_k.columns() + head * call.key_width, call.past_k.columns(),
                  past_, call.key_width, T{1}, nullptr, 0, keys);
    keys_t_ = buffers.keys_t.take(call.key_width * past_ld_);
    transpose_block(keys, past_, call.key_width, keys_t_);
    values_ = buffers.values.take(past_ * out_width_);
    pack_rows<T>(call.past_v.data<T>() + first_ * call.past_v.columns() + head * call.value_width,
                 call.past_v.columns(), past_, call.value_width, T{1}, nullptr, 0, values_);
    const std::int64_t columns = call.q.columns();
    const T* q = call.q.data<T>() + head * call.key_width;
    own_v_ = call.own_v.data<T>() + head * call.value_width;
    own_v_ld_ = call.own_v.columns();
    queries_ = buffers.queries.take(count_ * call.queries * width_);
    for (std::int64_t c = 0; c < count_; ++c)
      pack_rows(q + order_[c] * call.queries * columns, columns, call.queries, call.key_width,
                static_cast<T>(call.scale), rope, past_ + call.rows - call.queries,
                queries_ + c * call.queries * width_);
    take_own_keys(rope, buffers);
    scores_ = buffers.scores.take(kBlockRows * row_);
    out_ = buffers.out.take(kBlockRows * out_width_);
  }

  void run(Tensor& y) {
    const std::int64_t rows = count_ * call_.queries;
    T* out = y.data<T>() + head_ * call_.value_width;
    for (std::int64_t i = 0; i < rows; i += kBlockRows) {
      const std::int64_t m = std::min<std::int64_t>(kBlockRows, rows - i);
      product<T>(m, vectors<T>(past_), call_.key_width, {queries_ + i * width_, width_, 1}, keys_t_, past_ld_, scores_,
                 row_, false);
      T sum[kBlockRows];
      for (std::int64_t r = 0; r < m; ++r) sum[r] = weigh(i + r, scores_ + r * row_);
      product<T>(m, vectors<T>(call_.value_width), past_, {scores_, row_, 1}, values_, out_width_, out_, out_width_,
                 false);
      for (std::int64_t r = 0; r < m; ++r)
        finish(i + r, scores_ + r * row_ + past_ld_, out_ + r * out_width_, T{1} / sum[r], out, y.columns());
    }
  }

 private:
  // Keys that are turned or end within a vector are packed; others are read where they lie.
  void take_own_keys(const RotaryTable<T>* rope, ExtendBuffers<T>& buffers) {
    const T* own = call_.own_k.data<T>() + head_ * call_.key_width;
    const std::int64_t columns = call_.own_k.columns();
    own_keys_packed_ = rope != nullptr || width_ != call_.key_width;
    own_keys_ld_ = own_keys_packed_ ? width_ : columns;
    own_keys_ = own;
    if (!own_keys_packed_) return;
    T* packed = buffers.own_keys.take(count_ * call_.rows * width_);
    for (std::int64_t c = 0; c < count_; ++c)
      pack_rows(own + order_[c] * call_.rows * columns, columns, call_.rows, call_.key_width, T{1}, rope, past_,
                packed + c * call_.rows * width_);
    own_keys_ = packed;
  }

  std::int64_t own(std::int64_t query) const {
    return call_.rows - call_.queries + query % call_.queries;
  }  // its row of its own

  // Scores of one query -> weights, not yet divided by their sum, which is returned.
  T weigh(std::int64_t query, T* scores) const {
    constexpr T kLowest = std::numeric_limits<T>::lowest();
    const std::int64_t last = own(query), position = past_ + last;
    if (bias_) {
      const T* bias = bias_ + call_.distances.at(-position);
      for (std::int64_t j = 0; j < past_; ++j) scores[j] += bias[j];
    }
    std::fill(scores + past_, scores + past_ld_, kLowest);
    std::fill(scores + past_ld_, scores + row_, kLowest);
    const T* q = queries_ + query * width_;
    const std::int64_t continuation = query / call_.queries;
    const T* k = own_keys_ + (own_keys_packed_ ? continuation : order_[continuation]) * call_.rows * own_keys_ld_;
    for (std::int64_t j = 0; j <= last; ++j) {
      simd::Vec<T> dot{};
      for (std::int64_t d = 0; d < width_; d += simd::kLanes<T>)
        dot += simd::load(q + d) * simd::load(k + j * own_keys_ld_ + d);
      scores[past_ld_ + j] = simd::sum<T>(dot) + (bias_ ? bias_[call_.distances.at(j - last)] : T{0});
    }
    T top = kLowest, sum = 0;
    softmax_row<T>(scores, row_ / simd::kLanes<T>, row_, nullptr, top, sum);
    return sum;
  }

  void finish(std::int64_t query, const T* weights, T* out, T inverse, T* y, std::int64_t y_ld) const {
    const std::int64_t continuation = order_[query / call_.queries], last = own(query);
    const T* v = own_v_ + continuation * call_.rows * own_v_ld_;
    for (std::int64_t j = 0; j <= last; ++j, v += own_v_ld_)
      for (std::int64_t d = 0; d < call_.value_width; ++d) out[d] += weights[j] * v[d];
    copy_scaled(out, call_.value_width, inverse, y + (continuation * call_.queries + query % call_.queries) * y_ld);
  }

  const SharedPast& call_;
  const std::int64_t* order_;
  std::int64_t count_;
  int head_;
  const T* bias_;
  std::int64_t first_, past_, width_, out_width_, past_ld_, row_;
  const T *own_v_, *own_keys_;
  std::int64_t own_v_ld_, own_keys_ld_;
  bool own_keys_packed_ = false;
  T *keys_t_, *values_, *queries_, *scores_, *out_;
};

}  // namespace

void extend_attention(const SharedPast& call, Tensor& y) {
  dispatch_float("extend_attention", y.dtype(), [&](auto type) {
    using T = decltype(type);
    std::int64_t longest = 0;
    for (std::size_t b = 1; b < call.past_offset.size(); ++b)
      longest = std::max(longest, call.past_offset[b] - call.past_offset[b - 1]);
    const auto rope = rotary_table<T>(call.rope_base, call.key_width, longest + call.rows);
    const std::vector<T> spread = call.bias ? call.distances.spread<T>(call.bias) : std::vector<T>();
    const Groups groups = group(call);
    parallel_for(static_cast<std::int64_t>(groups.all.size()) * call.heads, [&](std::int64_t tile) {
      thread_local ExtendBuffers<T> buffers;
      const int head = static_cast<int>(tile % call.heads);
      const T* bias = spread.empty() ? nullptr : spread.data() + head * call.distances.width();
      Extension<T>(call, groups, groups.all[static_cast<std::size_t>(tile / call.heads)], head, rope.get(), bias,
                   buffers)
          .run(y);
    });
  });
}

void rotate_keys(const Tensor& k, std::span<const std::int64_t> offset, std::span<const std::int64_t> start, int heads,
                 double rope_base, Tensor& y) {
  dispatch_float("rotate_keys", k.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t width = k.columns() / heads, sequences = static_cast<std::int64_t>(offset.size()) - 1;
    const auto first = [&](std::size_t b) { return start.empty() ? std::int64_t{0} : start[b]; };
    std::int64_t positions = 1;
    for (std::size_t b = 0; b + 1 < offset.size(); ++b)
      positions = std::max(positions, first(b) + offset[b + 1] - offset[b]);
    const auto rope = rotary_table<T>(rope_base, width, positions);
    parallel_rows(sequences, 8, [&](std::int64_t begin, std::int64_t end) {
      for (auto b = static_cast<std::size_t>(begin); b < static_cast<std::size_t>(end); ++b)
        for (std::int64_t i = offset[b]; i < offset[b + 1]; ++i)
          for (std::int64_t h = 0; h < heads; ++h) {
            const std::int64_t at = i * k.columns() + h * width;
            rope->turn(k.data<T>() + at, first(b) + i - offset[b], false, T{1}, y.data<T>() + at);
          }
    });
  });
}

}  // namespace tessera::cpu
