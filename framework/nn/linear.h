#pragma once

#include "framework/nn/module.h"
#include "tensor/ops/linear/linear.h"

namespace tessera {

// y = activation(x weight + bias); weight (in, out), bias (out), zero at first. The weight decays, the bias does not.
class TESSERA_API Linear : public Module {
 public:
  // weight: its first values; xavier_uniform where it is left out.
  Linear(std::int64_t in, std::int64_t out, bool bias = true, Initializer weight = {});
  ~Linear() override;
  Tensor operator()(const Tensor& x, Activation activation = Activation::none);  // (..., in) -> (..., out)
  // For maps that are fused with others.
  Tensor weight() { return weight_(); }
  Tensor bias() { return bias_ ? (*bias_)() : Tensor(); }  // empty: none

 private:
  Parameter& weight_;
  Parameter* bias_ = nullptr;
};

// Two Linears with an activation between them: the position-wise network of a Transformer block.
class TESSERA_API FeedForward : public Module {
 public:
  FeedForward(std::int64_t width, std::int64_t hidden, Activation activation, bool bias = true,
              Initializer weight = {});
  ~FeedForward() override;
  Tensor operator()(const Tensor& x, double hidden_dropout = 0.0);  // (..., width) -> (..., width)

 private:
  Linear up_, down_;
  Activation activation_;
};

}  // namespace tessera
