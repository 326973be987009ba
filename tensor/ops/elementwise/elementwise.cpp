#include "tensor/ops/elementwise/elementwise.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/reduce/reduce.h"

// Backward closures run without a tape, so they are written in terms of the public ops.
namespace tessera {
namespace {

const char* name_of(Binary f) { return f == Binary::add ? "add" : f == Binary::subtract ? "subtract" : "multiply"; }

Tensor binary(Binary f, const Tensor& a, const Tensor& b) {
  const char* name = name_of(f);
  check_agree(name, "a", a, "b", b);
  check(a.shape() == b.shape() || b.shape() == Shape{a.columns()}, name, ": a ", a.shape().text(), ", b ",
        b.shape().text(), ": b must have a's shape or be (", a.columns(), ")");
  Tensor y(a.shape(), a.dtype(), a.device());
  TESSERA_ON_DEVICE(name, a.device(), binary_forward(f, a, b, y));
  return y;
}

Tensor unary(Unary f, const char* name, const Tensor& x) {
  check_present(name, "x", x);
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE(name, x.device(), unary_forward(f, x, y));
  return record(name, y, {&x}, [f, name, x = x.detach()](const Tensor& dy, Grads& dx) {
    Tensor g(x.shape(), x.dtype(), x.device());
    TESSERA_ON_DEVICE(name, x.device(), unary_backward(f, x, dy, g));
    dx[0].add(std::move(g));
  });
}

// The gradient of b: of its own shape, or summed over the rows it was repeated for.
void add_to_second(const GradSlot& slot, Tensor gradient) {
  if (gradient.numel() == slot.shape().numel()) slot.add(std::move(gradient));
  else slot.add(sum_columns(gradient));
}

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) {
  return record("add", binary(Binary::add, a, b), {&a, &b}, [](const Tensor& dy, Grads& dx) {
    if (dx[0]) dx[0].add(dy);
    if (dx[1]) add_to_second(dx[1], dy);
  });
}

Tensor subtract(const Tensor& a, const Tensor& b) {
  return record("subtract", binary(Binary::subtract, a, b), {&a, &b}, [](const Tensor& dy, Grads& dx) {
    if (dx[0]) dx[0].add(dy);
    if (dx[1]) add_to_second(dx[1], scale(dy, -1.0));
  });
}

Tensor multiply(const Tensor& a, const Tensor& b) {
  return record("multiply", binary(Binary::multiply, a, b), {&a, &b},
                [a = a.detach(), b = b.detach()](const Tensor& dy, Grads& dx) {
                  if (dx[0]) dx[0].add(multiply(dy, b));
                  if (dx[1]) add_to_second(dx[1], multiply(dy, a));
                });
}

Tensor scale(const Tensor& x, double factor) {
  check_present("scale", "x", x);
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE("scale", x.device(), scale(x, factor, y));
  return record("scale", y, {&x}, [factor](const Tensor& dy, Grads& dx) { dx[0].add(scale(dy, factor)); });
}

Tensor scale_rows(const Tensor& x, const Tensor& s) {
  check_agree("scale_rows", "x", x, "s", s);
  check(s.numel() == x.rows(), "scale_rows: x ", x.shape().text(), " has ", x.rows(), " rows, s ", s.shape().text());
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE("scale_rows", x.device(), scale_rows(x, s, y));
  return record("scale_rows", y, {&x, &s}, [x = x.detach(), s = s.detach()](const Tensor& dy, Grads& dx) {
    if (dx[0]) dx[0].add(scale_rows(dy, s));
    if (dx[1]) dx[1].add(row_dot(dy, x));
  });
}

Tensor activate(const Tensor& x, Activation activation) {
  if (activation == Activation::none) return x;
  return unary(static_cast<Unary>(activation), "activate", x);
}

Tensor softplus(const Tensor& x) { return unary(Unary::softplus, "softplus", x); }
Tensor exp(const Tensor& x) { return unary(Unary::exp, "exp", x); }
Tensor log(const Tensor& x) { return unary(Unary::log, "log", x); }
Tensor square(const Tensor& x) { return unary(Unary::square, "square", x); }

static_assert(static_cast<int>(Unary::none) == static_cast<int>(Activation::none) &&
              static_cast<int>(Unary::relu) == static_cast<int>(Activation::relu) &&
              static_cast<int>(Unary::gelu) == static_cast<int>(Activation::gelu) &&
              static_cast<int>(Unary::silu) == static_cast<int>(Activation::silu) &&
              static_cast<int>(Unary::sigmoid) == static_cast<int>(Activation::sigmoid) &&
              static_cast<int>(Unary::tanh) == static_cast<int>(Activation::tanh) &&
              static_cast<int>(Unary::leaky_relu) == static_cast<int>(Activation::leaky_relu));

}  // namespace tessera
