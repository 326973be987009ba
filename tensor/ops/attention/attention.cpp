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
        offset.empty() ? 0 : offset.front(), " to ", offset.empty() ? 0 : offset.back(), ", expected 0 to ", rows, ", the number of rows");
  for (std::size_t b = 1; b < offset.size(); ++b)
    check(offset[b] >= offset[b - 1], op, ": the ", side, " offsets fall at sequence ", b - 1, ": ", offset[b - 1], ", ", offset[b]);
}

std::int64_t head_width(const char* op, const char* name, const Tensor& x, int heads) {
  check(x.shape().rank() == 2, op, ": ", name, " ", x.shape().text(), ", expected (rows, width)");
  check(x.columns() >= heads && x.columns() % heads == 0, op, ": ", name, " ", x.shape().text(), " does not divide into ", heads,
        " heads");
  return x.columns() / heads;
}

void check_bias(const char* op, const AttentionOptions& options, DType dtype) {
  const Tensor& bias = options.relative_bias;
  if (!bias) return;
  const bool both = options.mask == AttentionMask::bidirectional;
  check(bias.shape().rank() == 2 && bias.columns() == options.heads && bias.dtype() == dtype, op, ": relative bias ",
        name_of(bias.dtype()), " ", bias.shape().text(), ", expected ", name_of(dtype), " (buckets, ", options.heads, ")");
  check(bias.dim(0) >= (both ? 4 : 2), op, ": ", bias.dim(0), " buckets of relative bias, expected ", both ? 4 : 2, " or more");
  check(options.max_distance > bias.dim(0) / (both ? 4 : 2), op, ": max_distance ", options.max_distance, ", expected more than the ",
        bias.dim(0) / (both ? 4 : 2), " exact buckets");
}

JaggedAttention prepare(const char* op, const AttentionOptions& options, std::int64_t key_width, DType dtype) {
  check(options.rope_base >= 0.0, op, ": rope_base ", options.rope_base, ", expected 0 (none) or more");
  check(options.rope_base == 0.0 || key_width % 2 == 0, op, ": rotary positions need an even head width, found ", key_width);
  check_bias(op, options, dtype);
  JaggedAttention call;
  call.heads = options.heads;
  call.key_width = key_width;
  call.mask = options.mask;
  call.scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(key_width));
  call.rope_base = options.rope_base;
  call.bias = options.relative_bias.detach();
  return call;
}

void add_distances(JaggedAttention& call, const AttentionOptions& options) {
  if (!call.bias) return;
  std::int64_t longest = 1;
  for (const auto* offset : {&call.q_offset, &call.k_offset})
    for (std::size_t b = 1; b < offset->size(); ++b) longest = std::max(longest, (*offset)[b] - (*offset)[b - 1]);
  call.distances = cpu::DistanceTable(1 - longest, longest - 1, call.heads, static_cast<int>(call.bias.dim(0)),
                                      call.mask == AttentionMask::bidirectional, options.max_distance);
}

void check_heads(const char* op, int heads) { check(heads >= 1, op, ": ", heads, " heads, expected 1 or more"); }

}  // namespace

Tensor self_attention(const Tensor& qkv, std::span<const std::int64_t> offset, const AttentionOptions& options) {
  const char* op = "self_attention";
  check_heads(op, options.heads);
  const std::int64_t width = head_width(op, "qkv", qkv, 3 * options.heads), part = width * options.heads;
  check_offset(op, "row", offset, qkv.rows());
  JaggedAttention call = prepare(op, options, width, qkv.dtype());
  call.value_width = width;
  call.q = {qkv.detach(), 0};
  call.k = {qkv.detach(), part};
  call.v = {qkv.detach(), 2 * part};
  call.q_offset.assign(offset.begin(), offset.end());
  call.k_offset = call.q_offset;
  add_distances(call, options);
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
  check(k.rows() == v.rows(), op, ": k ", k.shape().text(), ", v ", v.shape().text(), ": expected the same number of rows");
  check(q.dtype() == k.dtype() && q.dtype() == v.dtype(), op, ": types differ: q ", name_of(q.dtype()), ", k ", name_of(k.dtype()),
        ", v ", name_of(v.dtype()));
  check_offset(op, "query", q_offset, q.rows());
  check_offset(op, "key", k_offset, k.rows());
  check(q_offset.size() == k_offset.size(), op, ": ", q_offset.size() - 1, " query sequences, ", k_offset.size() - 1, " key sequences");
  JaggedAttention call = prepare(op, options, width, q.dtype());
  call.value_width = head_width(op, "v", v, options.heads);
  call.q = {q.detach(), 0};
  call.k = {k.detach(), 0};
  call.v = {v.detach(), 0};
  call.q_offset.assign(q_offset.begin(), q_offset.end());
  call.k_offset.assign(k_offset.begin(), k_offset.end());
  add_distances(call, options);
  require_cpu_kernel(op, q.device());
  Tensor y({q.rows(), v.columns()}, q.dtype(), q.device());
  Tensor log_sum({q.rows(), options.heads}, q.dtype(), q.device());
  cpu::attention_forward(call, y, log_sum);
  if (!recording({&q, &k, &v, &options.relative_bias})) return y;
  return record(op, y, {&q, &k, &v, &options.relative_bias}, [call = std::move(call), y, log_sum](const Tensor& dy, Grads& dx) {
    const auto like = [&](std::size_t i, const Tensor& x) { return dx[i] ? Tensor(x.shape(), dy.dtype(), dy.device()) : Tensor(); };
    const Columns dq{like(0, call.q.tensor)}, dk{like(1, call.k.tensor)}, dv{like(2, call.v.tensor)};
    Tensor dbias = like(3, call.bias);
    cpu::attention_backward(call, y, log_sum, dy, dq, dk, dv, dbias);
    if (dx[0]) dx[0].add(dq.tensor);
    if (dx[1]) dx[1].add(dk.tensor);
    if (dx[2]) dx[2].add(dv.tensor);
    if (dx[3]) dx[3].add(std::move(dbias));
  });
}

}  // namespace tessera
