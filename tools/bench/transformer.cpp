#include "tools/bench/transformer.h"

#include <cmath>

#include "tensor/ops/attention/attention.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/feed_forward/feed_forward.h"
#include "tensor/ops/linear/linear.h"
#include "tensor/ops/norm/norm.h"

namespace tessera::bench {

Transformer::Transformer(Model& model, const TransformerSizes& sizes) : sizes_(sizes) {
  const std::int64_t d = sizes.width;
  for (std::int64_t i = 0; i < sizes.layers; ++i) {
    const std::string name = "blocks." + std::to_string(i) + ".";
    blocks_.push_back({norm(model, name + "norm1"), linear(model, name + "qkv", d, 3 * d),
                       linear(model, name + "out", d, d), norm(model, name + "norm2"),
                       linear(model, name + "up", d, sizes.ffn), linear(model, name + "down", sizes.ffn, d)});
  }
  last_ = norm(model, "norm");
}

Transformer::Affine Transformer::linear(Model& model, const std::string& name, std::int64_t in,
                                        std::int64_t out) const {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  Parameter& w = sizes_.deviation > 0.0 ? model.normal(name + ".w", {in, out}, sizes_.deviation)
                                        : model.uniform(name + ".w", {in, out}, bound);
  return {&w, &model.uniform(name + ".b", {out}, bound)};
}

Transformer::Affine Transformer::norm(Model& model, const std::string& name) const {
  return {&model.constant(name + ".gain", {sizes_.width}, 1.0), &model.constant(name + ".bias", {sizes_.width}, 0.0)};
}

Tensor Transformer::operator()(Tensor x, std::span<const std::int64_t> offset) const {
  AttentionOptions attention;
  attention.heads = sizes_.heads;
  const double p = sizes_.dropout;
  for (const Block& b : blocks_) {
    const auto apply = [](const Tensor& in, const Affine& to) { return tessera::linear(in, (*to.w)(), (*to.b)()); };
    const Tensor h = layer_norm(x, (*b.norm1.w)(), (*b.norm1.b)());
    x = add_dropout(x, apply(self_attention(apply(h, b.qkv), offset, attention), b.out), p);
    const Tensor u = layer_norm(x, (*b.norm2.w)(), (*b.norm2.b)());
    const Tensor r = feed_forward(u, (*b.up.w)(), (*b.up.b)(), (*b.down.w)(), (*b.down.b)(), Activation::gelu);
    x = add_dropout(x, r, p);
  }
  return layer_norm(x, (*last_.w)(), (*last_.b)());
}

}  // namespace tessera::bench
