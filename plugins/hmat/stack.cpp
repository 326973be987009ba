#include "plugins/hmat/stack.h"

#include <string>

#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {

AnchorStack::AnchorStack(const AnchorStackOptions& options) : options_(options) {
  const TransformerOptions& o = options.block;
  for (int l = 0; l < o.layers; ++l) {
    blocks_.push_back(std::make_unique<TransformerBlock>(o));
    add_module("blocks." + std::to_string(l), *blocks_.back());
    if (options.side_rows == 0) continue;
    sides_.push_back(std::make_unique<Embedding>(options.side_rows, memory_width(), normal(o.deviation)));
    add_module("sides." + std::to_string(l), *sides_.back());
  }
  norm_ = std::make_unique<Norm>(o.width, o.norm, o.bias);
  add_module("norm", *norm_);
  if (options.pooled_tokens) pooled_ = &add_parameter("pooled", {o.width, o.width}, normal(o.deviation));
}

AnchorOptions AnchorStack::attention(bool last) const {
  AnchorOptions options = options_.attention;
  options.anchors_only = last;
  return options;
}

Tensor AnchorStack::anchor_rows(const Tensor& x) const {
  const std::int64_t width = x.columns();
  return slice_columns(x.reshape({x.rows() / block(), block() * width}), (block() - 1) * width, block() * width);
}

Tensor AnchorStack::states_of(const Tensor& anchors, const Tensor& rows) {
  const Tensor states = (*norm_)(anchors);
  if (!pooled_) return states;
  const std::int64_t width = rows.columns(), tokens = block() - 1;
  const Tensor blocks = rows.reshape({rows.rows() / block(), block() * width});
  Tensor sum = slice_columns(blocks, 0, width);
  for (std::int64_t t = 1; t < tokens; ++t) sum = add(sum, slice_columns(blocks, t * width, (t + 1) * width));
  return add(states, matmul(scale(sum, 1.0 / static_cast<double>(tokens)), (*pooled_)()));
}

Tensor AnchorStack::seen_later(std::size_t l, const Tensor& qkv, const SideFeatures& sides) {
  const bool tables = !sides.rows.empty() && !sides_.empty();
  if (!tables && !options_.independent) return {};
  const std::int64_t inner = options_.block.inner(), columns = 3 * inner;
  const Tensor own = slice_columns(qkv.reshape({qkv.rows() / block(), block() * columns}),
                                   (block() - 1) * columns + inner, block() * columns);
  return tables ? add(own, sides_[l]->sum(sides.rows, SideFeatures::kColumns)) : own;
}

// A pass in which blocks see themselves alone: each layer's anchors as later blocks see them.
std::vector<Tensor> AnchorStack::item_anchors(const Tensor& x, std::span<const std::int64_t> offset,
                                              const SideFeatures& sides) {
  std::vector<Tensor> anchors;
  if (!options_.independent) return anchors;
  AnchorOptions own = options_.attention;
  own.mask = AnchorMask::own_block;
  Tensor y = x;
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    const Tensor qkv = blocks_[l]->qkv(y);
    anchors.push_back(seen_later(l, qkv, sides));
    if (!is_last(l))
      y = blocks_[l]->feed_forward(blocks_[l]->after_attention(y, anchor_attention(qkv, offset, {}, own)));
  }
  return anchors;
}

template <class Attend>
Tensor AnchorStack::run(const Tensor& x, Attend attend) {
  Tensor y = x, tokens;
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    const Tensor attended = attend(l, blocks_[l]->qkv(y));
    if (is_last(l)) tokens = y;
    y = blocks_[l]->feed_forward(blocks_[l]->after_attention(is_last(l) ? anchor_rows(y) : y, attended));
  }
  return states_of(y, tokens);
}

Tensor AnchorStack::operator()(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides,
                               std::vector<Tensor>* past) {
  const std::vector<Tensor> alone = item_anchors(x, offset, sides);
  return run(x, [&](std::size_t l, const Tensor& qkv) {
    const Tensor anchors = options_.independent ? alone[l] : seen_later(l, qkv, sides);
    if (past) past->push_back(remembered_rows(qkv, offset, {}, anchors, attention(false)));
    return anchor_attention(qkv, offset, anchors, attention(is_last(l)));
  });
}

Tensor AnchorStack::last_states(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides,
                                std::vector<Tensor>& past) {
  const std::vector<Tensor> alone = item_anchors(x, offset, sides);
  std::vector<std::int32_t> place, history, rows;  // place: of each history among those that are not empty
  std::vector<std::int64_t> before;
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    const bool empty = offset[b + 1] == offset[b];
    place.push_back(empty ? -1 : static_cast<std::int32_t>(history.size()));
    if (empty) continue;
    history.push_back(static_cast<std::int32_t>(b));
    before.push_back(offset[b + 1] - offset[b] - 1);
    for (std::int64_t r = (offset[b + 1] - 1) * block(); r < offset[b + 1] * block(); ++r)
      rows.push_back(static_cast<std::int32_t>(r));
  }
  Tensor y = x, newest;
  for (std::size_t l = 0; l < blocks_.size(); ++l) {
    const Tensor qkv = blocks_[l]->qkv(y);
    const Tensor anchors = options_.independent ? alone[l] : seen_later(l, qkv, sides);
    past.push_back(remembered_rows(qkv, offset, {}, anchors, attention(false)));
    Tensor attended;
    if (is_last(l)) {  // the newest blocks alone ask
      attended = anchor_attention_past(gather_rows(qkv, rows), past[l], offset, history, before, attention(true));
      newest = gather_rows(y, rows);
      y = anchor_rows(newest);
    } else {
      attended = anchor_attention(qkv, offset, anchors, attention(false));
    }
    y = blocks_[l]->feed_forward(blocks_[l]->after_attention(y, attended));
  }
  return gather_rows(states_of(y, newest), place);
}

Tensor AnchorStack::extend(const Tensor& x, const std::vector<Tensor>& past, std::span<const std::int64_t> past_offset,
                           std::span<const std::int32_t> row) {
  std::vector<std::int64_t> seen;
  for (const std::int32_t r : row) {
    const auto b = static_cast<std::size_t>(r);
    seen.push_back(past_offset[b + 1] - past_offset[b]);
  }
  return run(x, [&](std::size_t l, const Tensor& qkv) {
    return anchor_attention_past(qkv, past[l], past_offset, row, seen, attention(is_last(l)));
  });
}

Tensor AnchorStack::append(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides,
                           std::vector<Tensor>& past, std::vector<std::int64_t>& past_offset) {
  const std::vector<Tensor> alone = item_anchors(x, offset, sides);
  const int far = far_rows();
  std::vector<std::int32_t> order, row;  // order: remembered rows of [old | news], history by history
  std::vector<std::int64_t> start, seen, merged(past_offset);
  for (std::size_t b = 0; b + 1 < offset.size(); ++b) {
    start.push_back(past_offset[b + 1] - past_offset[b]);
    for (std::int64_t j = past_offset[b] * far; j < past_offset[b + 1] * far; ++j)
      order.push_back(static_cast<std::int32_t>(j));
    for (std::int64_t j = offset[b] * far; j < offset[b + 1] * far; ++j)
      order.push_back(static_cast<std::int32_t>(past_offset.back() * far + j));
    for (std::int64_t i = offset[b]; i < offset[b + 1]; ++i) {
      row.push_back(static_cast<std::int32_t>(b));
      seen.push_back(start[b] + i - offset[b]);
    }
  }
  for (std::size_t b = 0; b < merged.size(); ++b) merged[b] += offset[b];
  const Tensor states = run(x, [&](std::size_t l, const Tensor& qkv) {
    const Tensor anchors = options_.independent ? alone[l] : seen_later(l, qkv, sides);
    const Tensor news = remembered_rows(qkv, offset, start, anchors, attention(false));
    past[l] = gather_rows(concat_rows({past[l], news}), order);
    return anchor_attention_past(qkv, past[l], merged, row, seen, attention(is_last(l)));
  });
  past_offset = merged;
  return states;
}

}  // namespace tessera
