#pragma once

#include "tensor/ops/linear/linear.h"

namespace tessera {

// y = activation(x w1 + b1) w2 + b2, a Transformer's feed-forward part in one op: the wide middle exists for one block
// of rows at a time, while it is in the cache. x: (..., D), w1: (D, F), b1: (F) or empty, w2: (F, D'), b2: (D') or
// empty. Returns (..., D'). Gradient: as linear's, twice. Keeps x and the values before the activation (not those after
// it, which the backward pass makes again). Composed reference: linear(linear(x, w1, b1, activation), w2, b2), which
// also serves other devices.
TESSERA_API Tensor feed_forward(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2,
                                Activation activation);

// Where feed_forward_backward writes; an empty buffer is not wanted.
struct FeedForwardGradients {
  GradSlot::Into dx, dw1, db1, dw2, db2;
};
namespace cpu {
// z (..., F): the values before the activation, empty where nothing is recorded.
void feed_forward(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2,
                  Activation activation, Tensor& y, Tensor& z);
void feed_forward_backward(const Tensor& dy, const Tensor& x, const Tensor& w1, const Tensor& w2, const Tensor& z,
                           Activation activation, FeedForwardGradients& to);
}  // namespace cpu

}  // namespace tessera
