#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "framework/nn/embedding.h"
#include "framework/nn/transformer.h"
#include "tensor/ops/anchor_attention/anchor_attention.h"

namespace tessera {

// What later blocks are told of each block beside its anchor: rows of a side table, -1 for nothing. Empty: no table is
// read at all.
struct SideFeatures {
  static constexpr int kColumns = 2;  // action type, time gap
  std::vector<std::int32_t> rows;     // (N, kColumns) or empty
};

struct AnchorStackOptions {
  TransformerOptions block;    // width, layers, heads, ffn, ...: one block of the stack
  AnchorOptions attention;     // heads, rows of a block, mask, positions
  bool independent = false;    // anchors that later blocks see depend on their own item alone (v3 of the page)
  bool pooled_tokens = false;  // a state gets W times the mean of its block's tokens before the last layer
  std::int64_t side_rows = 0;  // rows of each layer's side table
};

// Pre-norm Transformer blocks over histories of item blocks with memory-anchor attention. The last layer is computed
// for the anchors alone, since nobody reads its tokens. x: rows of blocks, item by item; states: one a block.
class AnchorStack : public Module {
 public:
  explicit AnchorStack(const AnchorStackOptions& options);
  int block() const { return options_.attention.block; }
  int far_rows() const { return options_.attention.far_rows(); }
  std::int64_t memory_width() const { return 2 * options_.block.inner(); }  // of one remembered row

  // x (N*B, D), offset (S + 1) in blocks -> (N, D). past: filled where it is given, what later blocks see of each
  // layer, (N*F, 2*H*Dk).
  Tensor operator()(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides,
                    std::vector<Tensor>* past);
  // The state of the last block of each history, (S, D), zeros for an empty one; past as above. Inference.
  Tensor last_states(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides,
                     std::vector<Tensor>& past);
  // C blocks that do not see each other, each behind all items of history row[c]. Inference.
  Tensor extend(const Tensor& x, const std::vector<Tensor>& past, std::span<const std::int64_t> past_offset,
                std::span<const std::int32_t> row);
  // New blocks behind each history: past and past_offset grow. Inference.
  Tensor append(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides,
                std::vector<Tensor>& past, std::vector<std::int64_t>& past_offset);

 private:
  bool is_last(std::size_t l) const { return l + 1 == blocks_.size(); }
  AnchorOptions attention(bool last) const;
  // Keys and values that later blocks see of each anchor, (N, 2*H*Dk); empty where they are the anchor's own.
  Tensor seen_later(std::size_t l, const Tensor& qkv, const SideFeatures& sides);
  std::vector<Tensor> item_anchors(const Tensor& x, std::span<const std::int64_t> offset, const SideFeatures& sides);
  Tensor anchor_rows(const Tensor& x) const;
  // anchors: of the last layer, (N, D); rows: what entered it, (N*B, D).
  Tensor states_of(const Tensor& anchors, const Tensor& rows);
  template <class Attend>
  Tensor run(const Tensor& x, Attend attend);

  AnchorStackOptions options_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  std::vector<std::unique_ptr<Embedding>> sides_;
  std::unique_ptr<Norm> norm_;
  Parameter* pooled_ = nullptr;  // (D, D), or null
};

}  // namespace tessera
