#pragma once

#include <cstdint>
#include <string>

#include "tensor/autograd/tape.h"
#include "tensor/core/tensor.h"
#include "tensor/ops/dropout/dropout.h"

namespace tessera {

enum class Activation { none, relu, gelu, silu, sigmoid, tanh, leaky_relu };
// gelu(x) = x/2 (1 + erf(x/sqrt 2)), exact. silu(x) = x sigmoid(x). leaky_relu(x) = x, 0.01 x below 0.
TESSERA_API Activation parse_activation(const std::string& name);  // throws Error with the known names

// y = activation(x w + b), fused: bias and activation are applied to a tile of the product while it is in the cache.
// x: (..., D_in), w: (D_in, D_out), b: (D_out) or empty. Returns (..., D_out).
// Gradient: g = dy activation'(.), dx = g w^T, dw = x^T g, db = column sums of g. Keeps x and, with an activation, the
// value before it (not the value after it): z, empty without an activation or where nothing is recorded.
TESSERA_API Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b = {},
                          Activation activation = Activation::none);

// y = dropout(activation(a + x w + b)): the product is added onto a, so two maps of one sum need no tensor of their own
// each. a: (..., D_out), as y; numbers that nobody else holds (std::move(a)) are written over. Gradient: da = g, the
// others as above. On a GPU composed of its parts.
TESSERA_API Tensor add_linear(Tensor a, const Tensor& x, const Tensor& w, const Tensor& b = {},
                              Activation activation = Activation::none, double dropout = 0.0);

// Where linear_backward writes; an empty buffer is not wanted.
struct LinearGradients {
  GradSlot::Into dx, dw, db;
};
namespace detail {
Shape with_columns(const Shape& shape, std::int64_t n);  // the shape with another last dimension
}  // namespace detail
namespace cpu {
// a: what the product is added onto, of y's shape, or empty; it may be the tensor that takes the product, z or else y.
// drop: of y.
void linear_forward(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, Tensor& y, Tensor& z,
                    const Tensor& a = {}, const DropoutKey& drop = {});
void linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& z, Activation activation,
                     LinearGradients& to);
void drop_backward(const DropoutKey& drop, Activation activation, const Tensor& dy, const Tensor& z, Tensor& g);
}  // namespace cpu
namespace cuda {
void linear_forward(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, Tensor& y, Tensor& z);
void linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& z, Activation activation,
                     LinearGradients& to);
}  // namespace cuda

}  // namespace tessera
