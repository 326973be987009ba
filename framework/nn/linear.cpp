#include "framework/nn/linear.h"

#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/feed_forward/feed_forward.h"

namespace tessera {

Linear::Linear(std::int64_t in, std::int64_t out, bool bias, Initializer weight)
    : weight_(add_parameter("weight", {in, out}, weight ? std::move(weight) : xavier_uniform(in, out))) {
  if (bias) bias_ = &add_parameter("bias", {out}, constant(0.0), false);
}

Linear::~Linear() = default;

Tensor Linear::operator()(const Tensor& x, Activation activation) { return linear(x, weight_(), bias(), activation); }

FeedForward::FeedForward(std::int64_t width, std::int64_t hidden, Activation activation, bool bias, Initializer weight)
    : up_(width, hidden, bias, weight), down_(hidden, width, bias, weight), activation_(activation) {
  add_module("up", up_);
  add_module("down", down_);
}

FeedForward::~FeedForward() = default;

Tensor FeedForward::operator()(const Tensor& x, double hidden_dropout) {
  if (hidden_dropout == 0.0)
    return feed_forward(x, up_.weight(), up_.bias(), down_.weight(), down_.bias(), activation_);
  return down_(dropout(up_(x, activation_), hidden_dropout));
}

}  // namespace tessera
