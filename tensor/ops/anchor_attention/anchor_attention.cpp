#include "tensor/ops/anchor_attention/anchor_attention.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/anchor_attention/blocks.h"

namespace tessera {
namespace {

constexpr std::int64_t kGroup = 8 * cpu::kStrip;  // at most so many blocks over one past share its packed rows

void check_offset(const char* op, const char* side, std::span<const std::int64_t> offset, std::int64_t blocks) {
  check(!offset.empty() && offset.front() == 0 && offset.back() == blocks, op, ": the ", side, " offsets run from ",
        offset.empty() ? 0 : offset.front(), " to ", offset.empty() ? 0 : offset.back(), ", expected 0 to ", blocks,
        ", the number of blocks");
  for (std::size_t b = 1; b < offset.size(); ++b)
    check(offset[b] >= offset[b - 1], op, ": the ", side, " offsets fall at sequence ", b - 1, ": ", offset[b - 1],
          ", ", offset[b]);
}

// What the options decide. inner: H*Dk.
BlockAttention prepare(const char* op, const AnchorOptions& options, std::int64_t inner) {
  check(options.heads >= 1, op, ": ", options.heads, " heads, expected 1 or more");
  check(options.block >= 1, op, ": blocks of ", options.block, " rows, expected 1 or more");
  check(inner >= options.heads && inner % options.heads == 0, op, ": ", inner, " columns do not divide into ",
        options.heads, " heads");
  BlockAttention call;
  call.heads = options.heads;
  call.width = inner / options.heads;
  const auto kind = options.positions.kind;
  const bool two = kind == BlockPositions::Kind::hierarchical || kind == BlockPositions::Kind::one_ladder;
  check(kind == BlockPositions::Kind::none || call.width % (two ? 4 : 2) == 0, op, ": ",
        two ? "item and slot positions need a head width divisible by 4, found "
            : "rotary positions need an even head width, found ",
        call.width);
  check(options.positions.item_base > 0.0 && options.positions.slot_base > 0.0, op, ": bases of positions ",
        options.positions.item_base, ", ", options.positions.slot_base, ", expected more than 0");
  call.block = options.block;
  call.far = options.far_rows();
  call.queries = options.anchors_only ? 1 : options.block;
  call.tokens_see = options.mask != AnchorMask::own_block;
  call.anchors_see = options.mask != AnchorMask::own_block && options.mask != AnchorMask::local_anchors;
  call.both_ways = options.mask == AnchorMask::both_ways;
  call.scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(call.width));
  call.positions = options.positions;
  return call;
}

void check_qkv(const char* op, const Tensor& qkv, int block) {
  check(qkv.shape().rank() == 2 && qkv.columns() % 3 == 0, op, ": qkv ", qkv.shape().text(),
        ", expected (rows, 3*H*Dk)");
  check(block < 1 || qkv.rows() % block == 0, op, ": qkv ", qkv.shape().text(), " does not divide into blocks of ",
        block, " rows");
}

void check_anchors(const char* op, const Tensor& anchors, std::int64_t blocks, std::int64_t inner, DType dtype) {
  if (!anchors) return;
  check(anchors.shape() == Shape({blocks, 2 * inner}) && anchors.dtype() == dtype, op, ": anchors ",
        name_of(anchors.dtype()), " ", anchors.shape().text(), ", expected ", name_of(dtype), " ",
        Shape({blocks, 2 * inner}).text());
}

// Blocks in order, a sequence a unit.
void add_sequences(BlockAttention& call, std::span<const std::int64_t> offset, std::span<const std::int64_t> start) {
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    if (offset[b + 1] == offset[b]) continue;
    call.units.push_back({offset[b], offset[b + 1], offset[b], offset[b + 1] - offset[b]});
    for (std::int64_t i = offset[b]; i < offset[b + 1]; ++i) {
      call.at.push_back(i);
      call.seen.push_back(i - offset[b] + (start.empty() ? 0 : start[b]));
    }
  }
}

}  // namespace

Tensor anchor_attention(const Tensor& qkv, std::span<const std::int64_t> offset, const Tensor& anchors,
                        const AnchorOptions& options) {
  const char* op = "anchor_attention";
  check_qkv(op, qkv, options.block);
  BlockAttention call = prepare(op, options, qkv.columns() / 3);
  const std::int64_t blocks = qkv.rows() / call.block;
  check_offset(op, "block", offset, blocks);
  check_anchors(op, anchors, blocks, call.inner(), qkv.dtype());
  call.qkv = qkv.detach();
  call.anchors = anchors.detach();
  add_sequences(call, offset, {});
  require_cpu_kernel(op, qkv.device());
  const bool kept = recording({&qkv, &anchors});
  Tensor y({blocks * call.queries, call.inner()}, qkv.dtype());
  Tensor log_sum = kept ? Tensor({y.rows(), call.heads}, qkv.dtype()) : Tensor();
  cpu::anchor_forward(call, y, log_sum);
  if (!kept) return y;
  return record(op, y, {&qkv, &anchors}, [call = std::move(call), y, log_sum](const Tensor& dy, Grads& dx) {
    Tensor dqkv(call.qkv.shape(), dy.dtype()), danchors;
    if (dx[1]) danchors = Tensor(call.anchors.shape(), dy.dtype());
    cpu::anchor_backward(call, y, log_sum, dy, dqkv, danchors);
    if (dx[0]) dx[0].add(std::move(dqkv));
    if (dx[1]) dx[1].add(std::move(danchors));
  });
}

Tensor remembered_rows(const Tensor& qkv, std::span<const std::int64_t> offset, std::span<const std::int64_t> start,
                       const Tensor& anchors, const AnchorOptions& options) {
  const char* op = "remembered_rows";
  const bool anchors_alone = !qkv && anchors && options.far_rows() == 1;
  if (!anchors_alone) check_qkv(op, qkv, options.block);
  BlockAttention call = prepare(op, options, anchors_alone ? anchors.columns() / 2 : qkv.columns() / 3);
  const std::int64_t blocks = anchors_alone ? anchors.rows() : qkv.rows() / call.block;
  const DType dtype = anchors_alone ? anchors.dtype() : qkv.dtype();
  check_offset(op, "block", offset, blocks);
  check(start.empty() || start.size() + 1 == offset.size(), op, ": ", start.size(), " starts for ", offset.size() - 1,
        " sequences");
  check_anchors(op, anchors, blocks, call.inner(), dtype);
  call.qkv = qkv.detach();
  call.anchors = anchors.detach();
  add_sequences(call, offset, start);
  require_cpu_kernel(op, (anchors_alone ? anchors : qkv).device());
  Tensor rows({blocks * call.far, 2 * call.inner()}, dtype);
  cpu::remembered_rows(call, rows);
  return rows;
}

Tensor anchor_attention_past(const Tensor& qkv, const Tensor& past, std::span<const std::int64_t> past_offset,
                             std::span<const std::int32_t> row, std::span<const std::int64_t> seen,
                             const AnchorOptions& options) {
  const char* op = "anchor_attention_past";
  check_qkv(op, qkv, options.block);
  BlockAttention call = prepare(op, options, qkv.columns() / 3);
  const auto blocks = static_cast<std::int64_t>(row.size());
  check(qkv.rows() == blocks * call.block, op, ": qkv ", qkv.shape().text(), ", expected ", blocks * call.block,
        " rows for ", blocks, " blocks");
  check(row.size() == seen.size(), op, ": ", row.size(), " histories and ", seen.size(), " counts of seen items");
  check(past.shape().rank() == 2 && past.columns() == 2 * call.inner() && past.dtype() == qkv.dtype(), op, ": past ",
        name_of(past.dtype()), " ", past.shape().text(), ", expected ", name_of(qkv.dtype()), " (rows, ",
        2 * call.inner(), ")");
  check(past.rows() % call.far == 0, op, ": past ", past.shape().text(), ", expected ", call.far, " rows an item");
  check_offset(op, "past", past_offset, past.rows() / call.far);
  const auto histories = static_cast<std::int64_t>(past_offset.size()) - 1;
  std::vector<std::int64_t> begin(static_cast<std::size_t>(histories) + 1, 0);
  for (std::size_t c = 0; c < row.size(); ++c) {
    check(row[c] >= 0 && row[c] < histories, op, ": block ", c, " is of history ", row[c], ", expected 0 to ",
          histories - 1);
    const auto h = static_cast<std::size_t>(row[c]);
    const std::int64_t items = past_offset[h + 1] - past_offset[h];
    check(seen[c] >= 0 && seen[c] <= items, op, ": block ", c, " sees ", seen[c], " items, history ", row[c], " has ",
          items);
    ++begin[h + 1];
  }
  for (std::size_t h = 1; h < begin.size(); ++h) begin[h] += begin[h - 1];
  for (std::size_t h = 0; h + 1 < begin.size(); ++h) {
    const std::int64_t count = begin[h + 1] - begin[h], groups = (count + kGroup - 1) / kGroup;
    const std::int64_t group = groups > 0 ? (count / groups + cpu::kStrip) / cpu::kStrip * cpu::kStrip : 1;
    for (std::int64_t first = begin[h]; first < begin[h + 1]; first += group)
      call.units.push_back(
          {first, std::min(first + group, begin[h + 1]), past_offset[h], past_offset[h + 1] - past_offset[h]});
  }
  call.at.resize(row.size());
  call.seen.resize(row.size());
  for (std::size_t c = 0; c < row.size(); ++c) {
    const auto to = static_cast<std::size_t>(begin[static_cast<std::size_t>(row[c])]++);
    call.at[to] = static_cast<std::int64_t>(c);
    call.seen[to] = seen[c];
  }
  call.qkv = qkv.detach();
  call.past = past.detach();
  require_cpu_kernel(op, qkv.device());
  Tensor y({blocks * call.queries, call.inner()}, qkv.dtype()), none;
  cpu::anchor_forward(call, y, none);
  return y;
}

}  // namespace tessera
