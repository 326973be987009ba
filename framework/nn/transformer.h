#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "framework/nn/linear.h"
#include "framework/nn/norm.h"
#include "tensor/ops/attention/attention.h"

namespace tessera {

struct TransformerOptions {
  int width = 64;  // D
  int layers = 2;
  int heads = 2;       // H
  int head_width = 0;  // Dk; 0: width / heads
  int ffn = 256;
  Activation activation = Activation::gelu;
  NormKind norm = NormKind::layer;
  bool bias = true;  // of linear layers and layer norms
  bool final_norm = true;
  bool causal = true;
  bool cross = false;      // blocks also attend to a memory of the same width
  double rope_base = 0.0;  // rotary positions; 0: none
  int buckets = 0;         // relative bias (T5), one table for all layers; 0: none
  int max_distance = 128;
  double dropout = 0.0;                                                                // of each residual branch
  double deviation = 0.02;                                                             // of the first weights (normal)
  int inner() const { return heads * (head_width > 0 ? head_width : width / heads); }  // H * Dk
};

// Keys and values of rows that were read, layer by layer, so that later rows need not read them again.
struct TransformerCache {
  std::vector<std::int64_t> offset{0};           // (B + 1)
  std::vector<Tensor> key, value;                // (N, H*Dk) each layer; keys are rotated
  std::vector<Tensor> qkv;                       // (N, 3*H*Dk) each layer, until keys and values are asked for
  std::vector<std::int64_t> memory_offset{0};    // (B + 1)
  std::vector<Tensor> memory_key, memory_value;  // (M, H*Dk) each layer, where blocks attend to a memory
};

// C continuations of cached rows that do not see each other: what they added, layer by layer.
struct TransformerBranches {
  std::vector<std::int32_t> row;   // (C) which cached sequence; ascending where blocks attend to a memory
  int rows = 0;                    // t: rows of each so far
  std::vector<Tensor> key, value;  // (C, t*H*Dk) each layer; keys are not rotated
  bool weighs = false;             // set before extend(): memory_weight is wanted too
  std::vector<std::vector<double>>
      memory_weight;  // of each newest row: attention on the rows of its memory, mean over heads and layers
};

// One block: x += attention(norm(x)); with cross, x += attention(norm(x), memory); x += feed_forward(norm(x)).
// Pre-norm, dropout on each branch. The calls are Transformer's, for one layer.
class TESSERA_API TransformerBlock : public Module {
 public:
  explicit TransformerBlock(const TransformerOptions& options);
  ~TransformerBlock() override;
  Tensor qkv(const Tensor& x);                                      // (N, D) -> (N, 3*H*Dk), of the normed rows
  Tensor after_attention(const Tensor& x, const Tensor& attended);  // the first branch added
  Tensor cross_attend(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& key, const Tensor& value,
                      std::span<const std::int64_t> memory_offset);  // the second
  Tensor feed_forward(const Tensor& x);                              // the third
  // Where cross_attend() looks: the softmax of each row of x over the memory's rows, mean over the heads, times share,
  // added to weight. For explanations: one thread, not recorded.
  void weigh_memory(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& key,
                    std::span<const std::int64_t> memory_offset, double share,
                    std::vector<std::vector<double>>& weight);
  Tensor memory_keys(const Tensor& memory);
  Tensor memory_values(const Tensor& memory);

 private:
  TransformerOptions options_;
  Norm attention_norm_;
  Linear qkv_, out_;
  std::unique_ptr<Norm> cross_norm_;
  std::unique_ptr<Linear> cross_query_, cross_key_, cross_value_, cross_out_;
  Norm ffn_norm_;
  FeedForward ffn_;
};

// A stack of pre-norm blocks over jagged rows with an optional final norm: encoder, decoder-only or decoder with a
// memory. Called with a tape it records; extend() and append() are for inference. Not thread-safe.
class TESSERA_API Transformer : public Module {
 public:
  explicit Transformer(const TransformerOptions& options);
  ~Transformer() override;
  const TransformerOptions& options() const { return options_; }

  // x (N, D), offset (B + 1) -> states (N, D). cache: filled where it is given (causal stacks).
  Tensor operator()(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache* cache = nullptr);
  // The state of each sequence's last row alone, (B, D), zeros for an empty one: the last block works on those rows
  // only. Causal stacks without a memory, inference.
  Tensor last_states(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache* cache = nullptr);
  // operator() with a memory (M, D), memory_offset (B + 1).
  Tensor operator()(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& memory,
                    std::span<const std::int64_t> memory_offset);

  // States (N', D) of rows x that follow the cached ones, row b's after row b's; the cache grows by them.
  Tensor append(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache& cache);
  // States (C * t, D) of the newest t rows x of C continuations. row (C): cached sequences. parent (C): the
  // continuation of `previous` that each goes on from; empty where previous is null. Fills `branches` for the next
  // call.
  Tensor extend(const Tensor& x, std::span<const std::int32_t> row, std::span<const std::int32_t> parent,
                TransformerCache& cache, const TransformerBranches* previous, TransformerBranches& branches);
  void cut_keys(TransformerCache& cache) const;  // fills key and value, where the cache holds qkv yet
  // Keys and values of a memory, once for all extensions; the cache then holds no rows of its own yet.
  void remember(const Tensor& memory, std::span<const std::int64_t> memory_offset, TransformerCache& cache);

 private:
  AttentionOptions attention_options(bool rotated);
  // Up to the last block: its input, and its qkv.
  std::pair<Tensor, Tensor> before_last(const Tensor& x, std::span<const std::int64_t> offset, TransformerCache* cache);
  Tensor rotated(const Tensor& rows, std::span<const std::int64_t> offset, std::span<const std::int64_t> start) const;
  Tensor finish(const Tensor& x) { return final_norm_ ? (*final_norm_)(x) : x; }

  TransformerOptions options_;
  std::vector<std::unique_ptr<TransformerBlock>> blocks_;
  std::unique_ptr<Norm> final_norm_;
  Parameter* relative_bias_ = nullptr;
};

}  // namespace tessera
