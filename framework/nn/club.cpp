#include "framework/nn/club.h"

#include <cmath>

#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

Tensor column_means(const Tensor& x) { return scale(sum_columns(x), 1.0 / static_cast<double>(x.rows())); }

void check_pair(const Tensor& x, const Tensor& y) {
  check(x.shape().rank() == 2 && y.shape().rank() == 2 && x.rows() == y.rows() && x.rows() >= 1, "club: x ",
        x.shape().text(), " and y ", y.shape().text(), ", expected (N, Dx) and (N, Dy)");
}

}  // namespace

Club::Club(std::int64_t x_width, std::int64_t y_width, std::int64_t hidden)
    : mean_({x_width, hidden, y_width}), spread_({x_width, hidden, y_width}) {
  add_module("mean", mean_);
  add_module("spread", spread_);
}

Club::~Club() = default;

Tensor Club::misfit(const Tensor& x, const Tensor& y) {
  check_pair(x, y);
  const Tensor v = activate(spread_(x), Activation::tanh);
  const Tensor error = multiply(square(subtract(y, mean_(x))), exp(scale(v, -1.0)));
  return scale(sum(add(error, v)), 1.0 / static_cast<double>(x.rows()));
}

double Club::learn(const Tensor& x, const Tensor& y, int steps, double learning_rate) {
  if (!optimizer_) optimizer_ = std::make_unique<Optimizer>(parameters(), TrainOptions{});
  double value = 0.0;
  const Tensor x_rows = x.detach(), y_rows = y.detach();
  for (int i = 0; i < steps; ++i) {
    {
      Tape tape;
      const Tensor loss = misfit(x_rows, y_rows);
      value = loss.item();
      tape.backward(loss);
    }
    const double norm = optimizer_->step(learning_rate, 1);
    check(std::isfinite(norm), "club: the gradient's norm is ", norm, "; use a smaller learning rate");
  }
  return value;
}

Tensor Club::bound(const Tensor& x, const Tensor& y, std::span<const std::int32_t> permutation) const {
  check_pair(x, y);
  const Tensor mu = mean_.frozen(x), v = activate(spread_.frozen(x), Activation::tanh);
  Tensor other;  // (y_j - mu_i)^2: its mean over j, or that of j = pi(i)
  if (permutation.empty()) {
    const Tensor first = column_means(y), second = column_means(square(y));
    other = add(subtract(square(mu), scale(multiply(mu, first), 2.0)), second);
  } else {
    other = square(subtract(gather_rows(y, permutation), mu));
  }
  const Tensor gap = multiply(subtract(other, square(subtract(y, mu))), exp(scale(v, -1.0)));
  return scale(sum(gap), 0.5 / static_cast<double>(x.rows()));
}

Tensor standardize_columns(const Tensor& x, double eps) {
  const Tensor centred = subtract(x, column_means(x));
  const Tensor variance = add(column_means(square(centred)), Tensor::full({x.columns()}, eps, x.dtype()));
  return multiply(centred, exp(scale(log(variance), -0.5)));
}

}  // namespace tessera
