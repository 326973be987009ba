#include "tensor/ops/linear/linear.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/elementwise/elementwise.h"

namespace tessera {

Shape detail::with_columns(const Shape& shape, std::int64_t n) {
  switch (shape.rank()) {
    case 1: return {n};
    case 2: return {shape.dim(0), n};
    case 3: return {shape.dim(0), shape.dim(1), n};
    case 4: return {shape.dim(0), shape.dim(1), shape.dim(2), n};
    default: throw Error("linear: x is a scalar, expected rows of numbers");
  }
}

namespace {

void check_inputs(const Tensor& x, const Tensor& w, const Tensor& b) {
  check(w.shape().rank() == 2, "linear: w ", w.shape().text(), ", expected a matrix (inputs, outputs)");
  check(x.columns() == w.dim(0), "linear: inner sizes differ: x ", x.shape().text(), ", w ", w.shape().text(), ": ",
        x.columns(), " is not ", w.dim(0));
  check(!b || (b.shape().rank() == 1 && b.dim(0) == w.dim(1)), "linear: b ", b.shape().text(), ", expected (", w.dim(1),
        ")");
  check(x.dtype() == w.dtype() && (!b || b.dtype() == x.dtype()), "linear: x is ", name_of(x.dtype()), ", w is ",
        name_of(w.dtype()), ", b is ", name_of(b ? b.dtype() : x.dtype()), ": expected one type");
  check(x.device() == w.device() && (!b || b.device() == x.device()), "linear: x is on ", x.device().text(),
        ", w is on ", w.device().text(), b ? ", b is on " + b.device().text() : std::string());
}

}  // namespace

Activation parse_activation(const std::string& name) {
  if (name == "none") return Activation::none;
  if (name == "relu") return Activation::relu;
  if (name == "gelu") return Activation::gelu;
  if (name == "silu") return Activation::silu;
  if (name == "sigmoid") return Activation::sigmoid;
  if (name == "tanh") return Activation::tanh;
  if (name == "leaky_relu") return Activation::leaky_relu;
  throw Error(str("activation: \"", name, "\", expected none, relu, gelu, silu, sigmoid, tanh or leaky_relu"));
}

Tensor linear(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation) {
  check_inputs(x, w, b);
  Tensor y(detail::with_columns(x.shape(), w.dim(1)), x.dtype(), x.device());
  Tensor z;  // before the activation, for the backward pass
  if (activation != Activation::none && recording({&x, &w, &b})) z = Tensor(y.shape(), y.dtype(), y.device());
  TESSERA_ON_DEVICE("linear", x.device(), linear_forward(x, w, b, activation, y, z));
  return record("linear", y, {&x, &w, &b},
                [x = x.detach(), w = w.detach(), z, activation](const Tensor& dy, Grads& dx) {
                  LinearGradients to;
                  if (dx[0]) to.dx = dx[0].into();
                  if (dx[1]) to.dw = dx[1].into();
                  if (dx[2]) to.db = dx[2].into();
                  TESSERA_ON_DEVICE("linear", dy.device(), linear_backward(dy, x, w, z, activation, to));
                });
}

Tensor add_linear(Tensor a, const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, double p) {
  check_inputs(x, w, b);
  const Shape shape = detail::with_columns(x.shape(), w.dim(1));
  check(a.shape() == shape && a.dtype() == x.dtype() && a.device() == x.device(), "add_linear: a ", a.shape().text(),
        " ", name_of(a.dtype()), " on ", a.device().text(), ", expected ", shape.text(), " ", name_of(x.dtype()),
        " on ", x.device().text(), " as x w");
  if (!a.device().is_cpu()) return dropout(activate(add(a, linear(x, w, b)), activation), p);
  const DropoutKey drop = take_dropout_key("add_linear", p);
  const bool keeps = activation != Activation::none && recording({&a, &x, &w, &b});
  const auto product = [&] { return a.shares_storage() ? Tensor(shape, a.dtype()) : a.detach(); };
  Tensor z = keeps ? product() : Tensor();
  Tensor y = keeps ? Tensor(shape, a.dtype()) : product();
  cpu::linear_forward(x, w, b, activation, y, z, a, drop);
  return record("add_linear", y, {&a, &x, &w, &b},
                [x = x.detach(), w = w.detach(), z, activation, drop](const Tensor& dy, Grads& dx) {
                  Tensor g = dy;
                  if (z || drop.threshold != 0) {
                    g = Tensor(dy.shape(), dy.dtype());
                    if (drop.threshold != 0) cpu::drop_backward(drop, activation, dy, z, g);
                    else cpu::unary_backward(static_cast<Unary>(activation), z, dy, g);
                  }
                  LinearGradients to;
                  if (dx[1]) to.dx = dx[1].into();
                  if (dx[2]) to.dw = dx[2].into();
                  if (dx[3]) to.db = dx[3].into();
                  cpu::linear_backward(g, x, w, {}, Activation::none, to);
                  if (dx[0]) dx[0].add(std::move(g));
                });
}

}  // namespace tessera
