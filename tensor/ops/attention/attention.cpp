#include "tensor/ops/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/attention/jagged.h"

namespace tessera {
namespace {

void check_offset(const char* op, const char* side, std::span<const std::int64_t> offset, std::int64_t rows) {
  check(!offset.empty() && offset.front() == 0 && offset.back() == rows, op, ": the ", side, " offsets run from ",
        offset.empty() ? 0 : offset.front(), " to ", offset.empty() ? 0 : offset.back(), ", expected 0 to ", rows,
        ", the number of rows");
  for (std::size_t b = 1; b < offset.size(); ++b)
    check(offset[b] >= offset[b - 1], op, ": the ", side, " offsets fall at sequence ", b - 1, ": ", offset[b - 1],
          ", ", offset[b]);
}

std::int64_t head_width(const char* op, const char* name, const Tensor& x, int heads) {
  check(x.shape().rank() == 2, op, ": ", name, " ", x.shape().text(), ", expected (rows, width)");
  check(x.columns() >= heads && x.columns() % heads == 0, op, ": ", name, " ", x.shape().text(),
        " does not divide into ", heads, " heads");
  return x.columns() / heads;
}

void check_bias(const char* op, const AttentionOptions& options, DType dtype) {
  const Tensor& bias = options.relative_bias;
  if (!bias) return;
  const bool both = options.mask == AttentionMask::bidirectional;
  check(bias.shape().rank() == 2 && bias.columns() == options.heads && bias.dtype() == dtype, op, ": relative bias ",
        name_of(bias.dtype()), " ", bias.shape().text(), ", expected ", name_of(dtype), " (buckets, ", options.heads,
        ")");
  check(bias.dim(0) >= (both ? 4 : 2), op, ": ", bias.dim(0), " buckets of relative bias, expected ", both ? 4 : 2,
        " or more");
  check(options.max_distance > bias.dim(0) / (both ? 4 : 2), op, ": max_distance ", options.max_distance,
        ", expected more than the ", bias.dim(0) / (both ? 4 : 2), " exact buckets");
}

void check_rope(const char* op, double base, std::int64_t key_width) {
  check(base >= 0.0, op, ": rope_base ", base, ", expected 0 (none) or more");
  check(base == 0.0 || key_width % 2 == 0, op, ": rotary positions need an even head width, found ", key_width);
}

// The part of a call that options decide, for JaggedAttention and SharedPast alike.
template <class Call>
void prepare(const char* op, const AttentionOptions& options, std::int64_t key_width, DType dtype, Call& call) {
  check_rope(op, options.rope_base, key_width);
  check_bias(op, options, dtype);
  call.heads = options.heads;
  call.key_width = key_width;
  call.scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(key_width));
  call.rope_base = options.rope_base;
  call.bias = options.relative_bias.detach();
}

std::int64_t longest(std::span<const std::int64_t> offset) {
  std::int64_t most = 0;
  for (std::size_t b = 1; b < offset.size(); ++b) most = std::max(most, offset[b] - offset[b - 1]);
  return most;
}

template <class Call>
void add_distances(Call& call, const AttentionOptions& options, std::int64_t positions) {
  if (call.bias)
    call.distances = cpu::DistanceTable(1 - positions, positions - 1, call.heads, static_cast<int>(call.bias.dim(0)),
                                        options.mask == AttentionMask::bidirectional, options.max_distance);
}

void check_heads(const char* op, int heads) { check(heads >= 1, op, ": ", heads, " heads, expected 1 or more"); }

}  // namespace

Tensor self_attention(const Tensor& qkv, std::span<const std::int64_t> offset, const AttentionOptions& options) {
  const char* op = "self_attention";
  check_heads(op, options.heads);
  const std::int64_t width = head_width(op, "qkv", qkv, 3 * options.heads), part = width * options.heads;
  check_offset(op, "row", offset, qkv.rows());
  JaggedAttention call;
  prepare(op, options, width, qkv.dtype(), call);
  call.mask = options.mask;
  call.value_width = width;
  call.q = {qkv.detach(), 0};
  call.k = {qkv.detach(), part};
  call.v = {qkv.detach(), 2 * part};
  call.q_offset.assign(offset.begin(), offset.end());
  call.k_offset = call.q_offset;
  add_distances(call, options, std::max<std::int64_t>(1, longest(offset)));
  require_cpu_kernel(op, qkv.device());
  Tensor y({qkv.rows(), part}, qkv.dtype(), qkv.device());
  Tensor log_sum({qkv.rows(), options.heads}, qkv.dtype(), qkv.device());
  cpu::attention_forward(call, y, log_sum);
  if (!recording({&qkv, &options.relative_bias})) return y;
  return record(op, y, {&qkv, &options.relative_bias},
                [call = std::move(call), part, y, log_sum](const Tensor& dy, Grads& dx) {
                  Tensor d(call.q.tensor.shape(), dy.dtype(), dy.device()), dbias;
                  if (dx[1]) dbias = Tensor(call.bias.shape(), dy.dtype(), dy.device());
                  cpu::attention_backward(call, y, log_sum, dy, {d, 0}, {d, part}, {d, 2 * part}, dbias);
                  if (dx[0]) dx[0].add(std::move(d));
                  if (dx[1]) dx[1].add(std::move(dbias));
                });
}

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, std::span<const std::int64_t> q_offset,
                 std::span<const std::int64_t> k_offset, const AttentionOptions& options) {
  const char* op = "attention";
  check_heads(op, options.heads);
  const std::int64_t width = head_width(op, "q", q, options.heads), key_width = head_width(op, "k", k, options.heads);
  check(width == key_width, op, ": q ", q.shape().text(), ", k ", k.shape().text(), ": expected the same width");
  check(k.rows() == v.rows(), op, ": k ", k.shape().text(), ", v ", v.shape().text(),
        ": expected the same number of rows");
  check(q.dtype() == k.dtype() && q.dtype() == v.dtype(), op, ": types differ: q ", name_of(q.dtype()), ", k ",
        name_of(k.dtype()), ", v ", name_of(v.dtype()));
  check_offset(op, "query", q_offset, q.rows());
  check_offset(op, "key", k_offset, k.rows());
  check(q_offset.size() == k_offset.size(), op, ": ", q_offset.size() - 1, " query sequences, ", k_offset.size() - 1,
        " key sequences");
  JaggedAttention call;
  prepare(op, options, width, q.dtype(), call);
  call.mask = options.mask;
  call.value_width = head_width(op, "v", v, options.heads);
  call.q = {q.detach(), 0};
  call.k = {k.detach(), 0};
  call.v = {v.detach(), 0};
  call.q_offset.assign(q_offset.begin(), q_offset.end());
  call.k_offset.assign(k_offset.begin(), k_offset.end());
  add_distances(call, options, std::max({std::int64_t{1}, longest(q_offset), longest(k_offset)}));
  require_cpu_kernel(op, q.device());
  Tensor y({q.rows(), v.columns()}, q.dtype(), q.device());
  Tensor log_sum({q.rows(), options.heads}, q.dtype(), q.device());
  cpu::attention_forward(call, y, log_sum);
  if (!recording({&q, &k, &v, &options.relative_bias})) return y;
  return record(op, y, {&q, &k, &v, &options.relative_bias},
                [call = std::move(call), y, log_sum](const Tensor& dy, Grads& dx) {
                  const auto like = [&](std::size_t i, const Tensor& x) {
                    return dx[i] ? Tensor(x.shape(), dy.dtype(), dy.device()) : Tensor();
                  };
                  const Columns dq{like(0, call.q.tensor)}, dk{like(1, call.k.tensor)}, dv{like(2, call.v.tensor)};
                  Tensor dbias = like(3, call.bias);
                  cpu::attention_backward(call, y, log_sum, dy, dq, dk, dv, dbias);
                  if (dx[0]) dx[0].add(dq.tensor);
                  if (dx[1]) dx[1].add(dk.tensor);
                  if (dx[2]) dx[2].add(dv.tensor);
                  if (dx[3]) dx[3].add(std::move(dbias));
                });
}

Tensor extend_attention(const Tensor& q, const Tensor& own_k, const Tensor& own_v, std::int64_t own_rows,
                        const Tensor& past_k, const Tensor& past_v, std::span<const std::int64_t> past_offset,
                        std::span<const std::int32_t> row, const AttentionOptions& options) {
  const char* op = "extend_attention";
  check_heads(op, options.heads);
  check(own_rows >= 1, op, ": ", own_rows, " own rows, expected 1 or more");
  const auto count = static_cast<std::int64_t>(row.size());
  SharedPast call;
  prepare(op, options, head_width(op, "q", q, options.heads), q.dtype(), call);
  call.value_width = head_width(op, "own_v", own_v, options.heads);
  for (const Tensor* t : {&own_k, &own_v, &past_k, &past_v})
    check(t->dtype() == q.dtype(), op, ": types differ: ", name_of(t->dtype()), " beside q ", name_of(q.dtype()));
  check(q.rows() == count || q.rows() == count * own_rows, op, ": q ", q.shape().text(), ", expected ", count, " or ",
        count * own_rows, " rows for ", count, " continuations of ", own_rows);
  check(own_k.rows() == count * own_rows && own_v.rows() == count * own_rows, op, ": own_k ", own_k.shape().text(),
        ", own_v ", own_v.shape().text(), ", expected ", count * own_rows, " rows for ", count, " continuations of ",
        own_rows);
  check(past_k.rows() == past_v.rows(), op, ": past_k ", past_k.shape().text(), ", past_v ", past_v.shape().text(),
        ": expected the same number of rows");
  check(own_k.columns() == q.columns() && past_k.columns() == q.columns() && past_v.columns() == own_v.columns(), op,
        ": widths differ: q ", q.columns(), ", own_k ", own_k.columns(), ", past_k ", past_k.columns(), "; own_v ",
        own_v.columns(), ", past_v ", past_v.columns());
  check_offset(op, "past", past_offset, past_k.rows());
  const auto histories = static_cast<std::int32_t>(past_offset.size()) - 1;
  for (std::size_t c = 0; c < row.size(); ++c)
    check(row[c] >= 0 && row[c] < histories, op, ": continuation ", c, " is of history ", row[c], ", expected 0 to ",
          histories - 1);
  call.q = q.detach();
  call.own_k = own_k.detach();
  call.own_v = own_v.detach();
  call.past_k = past_k.detach();
  call.past_v = past_v.detach();
  call.rows = own_rows;
  call.queries = q.rows() == count ? 1 : own_rows;
  call.past_offset.assign(past_offset.begin(), past_offset.end());
  call.row.assign(row.begin(), row.end());
  add_distances(call, options, longest(past_offset) + own_rows);
  require_cpu_kernel(op, q.device());
  Tensor y({q.rows(), own_v.columns()}, q.dtype(), q.device());
  cpu::extend_attention(call, y);
  return y;
}

Tensor rotate_keys(const Tensor& k, std::span<const std::int64_t> offset, std::span<const std::int64_t> start,
                   int heads, double rope_base) {
  const char* op = "rotate_keys";
  check_heads(op, heads);
  check_rope(op, rope_base, head_width(op, "k", k, heads));
  check_offset(op, "key", offset, k.rows());
  check(start.empty() || start.size() + 1 == offset.size(), op, ": ", start.size(), " starts for ", offset.size() - 1,
        " sequences");
  for (std::size_t b = 0; b < start.size(); ++b)
    check(start[b] >= 0, op, ": sequence ", b, " starts at position ", start[b], ", expected 0 or more");
  if (rope_base == 0.0) return k.detach();
  require_cpu_kernel(op, k.device());
  Tensor y(k.shape(), k.dtype(), k.device());
  cpu::rotate_keys(k, offset, start, heads, rope_base, y);
  return y;
}

}  // namespace tessera
