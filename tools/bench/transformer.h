#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tools/bench/bench.h"

namespace tessera::bench {

// Pre-norm blocks with biases, GELU and dropout on both residual branches, causal attention, and a last LayerNorm.
struct TransformerSizes {
  std::int64_t width = 128, ffn = 512, layers = 4;
  int heads = 4;
  double dropout = 0.0, deviation = 0.0;  // deviation 0: uniform within 1/sqrt(inputs)
};

class Transformer {
 public:
  Transformer(Model& model, const TransformerSizes& sizes);
  Tensor operator()(Tensor x, std::span<const std::int64_t> offset) const;

 private:
  struct Affine {
    Parameter *w, *b;
  };
  struct Block {
    Affine norm1, qkv, out, norm2, up, down;
  };
  Affine linear(Model& model, const std::string& name, std::int64_t in, std::int64_t out) const;
  Affine norm(Model& model, const std::string& name) const;

  TransformerSizes sizes_;
  std::vector<Block> blocks_;
  Affine last_;
};

}  // namespace tessera::bench
