#include "plugins/relation_transformer/relation_block.h"

#include <cmath>
#include <string>
#include <vector>

#include "tensor/ops/attention/attention.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {
namespace {

constexpr int kHidden = 32;  // of the networks that make a user's numbers

// Head by head: [a_0 | b | a_1 | b | ...] of a (N, H*Dk) and b (N, Dk).
Tensor beside_each_head(const Tensor& a, const Tensor& b, int heads) {
  std::vector<Tensor> parts;
  const std::int64_t width = a.columns() / heads;
  for (int h = 0; h < heads; ++h) {
    parts.push_back(slice_columns(a, h * width, (h + 1) * width));
    parts.push_back(b);
  }
  return concat_columns(parts);
}

}  // namespace

RelationBlock::RelationBlock(const RelationOptions& o)
    : options_(o),
      qkv_(o.width, 3 * o.heads * o.head_width, false),
      out_(o.heads * o.head_width, o.width, false),
      attention_norm_(o.width, o.norm),
      ffn_norm_(o.width, o.norm),
      ffn_(o.width, o.ffn, o.activation, false) {
  add_module("attention.qkv", qkv_);
  add_module("attention.out", out_);
  if (o.relation) {
    relations_ = std::make_unique<Linear>(o.width, 3 * o.head_width, false);
    add_module("attention.relations", *relations_);
  }
  for (int part = 0; part < 3 && o.relation && o.user_width > 0; ++part) {
    hidden_[part] = std::make_unique<Linear>(o.user_width, kHidden, false);
    scalar_[part] = std::make_unique<Linear>(kHidden, 1, false);
    const std::string name = std::string("attention.user_") + "qkv"[part];
    add_module(name + ".hidden", *hidden_[part]);
    add_module(name + ".scalar", *scalar_[part]);
  }
  add_module("attention.norm", attention_norm_);
  add_module("ffn", ffn_);
  add_module("ffn.norm", ffn_norm_);
}

RelationBlock::~RelationBlock() = default;

Tensor RelationBlock::relation(int part, const Tensor& relations, const Tensor& users,
                               std::span<const std::int32_t> user) {
  const Tensor rows = slice_columns(relations, part * options_.head_width, (part + 1) * options_.head_width);
  if (!hidden_[part]) return rows;
  const Tensor number = (*scalar_[part])((*hidden_[part])(users, Activation::relu));
  return scale_rows(rows, gather_rows(number, user).reshape({rows.rows()}));
}

Tensor RelationBlock::attended(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& users,
                               std::span<const std::int32_t> user) {
  AttentionOptions options;
  options.heads = options_.heads;
  options.mask = AttentionMask::bidirectional;
  options.scale = 1.0 / std::sqrt(static_cast<double>(options_.head_width));
  const Tensor qkv = qkv_(x);
  if (!options_.relation) return self_attention(qkv, offset, options);
  const int inner = options_.heads * options_.head_width;
  const Tensor relations = (*relations_)(x);
  const auto joined = [&](int part) {
    return beside_each_head(slice_columns(qkv, part * inner, (part + 1) * inner),
                            relation(part, relations, users, user), options_.heads);
  };
  const std::vector<Tensor> shared(static_cast<std::size_t>(options_.heads), relation(2, relations, users, user));
  const Tensor value = add(slice_columns(qkv, 2 * inner, 3 * inner), concat_columns(shared));
  return attention(joined(0), joined(1), value, offset, offset, options);
}

Tensor RelationBlock::operator()(const Tensor& x, std::span<const std::int64_t> offset, const Tensor& users,
                                 std::span<const std::int32_t> user) {
  const Tensor y = attention_norm_(add_dropout(x, out_(attended(x, offset, users, user)), options_.dropout));
  return ffn_norm_(add_dropout(y, ffn_(y), options_.dropout));
}

}  // namespace tessera
