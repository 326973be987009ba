#include "tensor/ops/feed_forward/feed_forward.h"

namespace tessera {
namespace {

bool fits(const Tensor& b, std::int64_t n) { return !b || (b.shape().rank() == 1 && b.dim(0) == n); }

void check_inputs(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2) {
  check(x.shape().rank() >= 1 && w1.shape().rank() == 2 && w2.shape().rank() == 2, "feed_forward: x ", x.shape().text(),
        ", w1 ", w1.shape().text(), ", w2 ", w2.shape().text(), ": expected rows and two matrices");
  check(x.columns() == w1.dim(0), "feed_forward: x ", x.shape().text(), ", w1 ", w1.shape().text(), ": ", x.columns(),
        " is not ", w1.dim(0));
  check(w1.dim(1) == w2.dim(0), "feed_forward: w1 ", w1.shape().text(), ", w2 ", w2.shape().text(), ": ", w1.dim(1),
        " is not ", w2.dim(0));
  check(fits(b1, w1.dim(1)), "feed_forward: b1 ", b1.shape().text(), ", expected (", w1.dim(1), ")");
  check(fits(b2, w2.dim(1)), "feed_forward: b2 ", b2.shape().text(), ", expected (", w2.dim(1), ")");
  for (const Tensor* other : {&w1, &b1, &w2, &b2})
    check(!*other || (other->dtype() == x.dtype() && other->device() == x.device()), "feed_forward: x is ",
          name_of(x.dtype()), " on ", x.device().text(), ", a weight is ", name_of(other->dtype()), " on ",
          other->device().text());
}

}  // namespace

Tensor feed_forward(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2,
                    Activation activation) {
  check_inputs(x, w1, b1, w2, b2);
  if (!x.device().is_cpu() || activation == Activation::none) return linear(linear(x, w1, b1, activation), w2, b2);
  const Tensor rows = x.shape().rank() == 2 ? x : x.reshape({x.rows(), x.columns()});
  Tensor y({rows.dim(0), w2.dim(1)}, x.dtype());
  Tensor z;
  if (recording({&rows, &w1, &b1, &w2, &b2})) z = Tensor({rows.dim(0), w1.dim(1)}, x.dtype());
  cpu::feed_forward(rows, w1, b1, w2, b2, activation, y, z);
  const Tensor out =
      record("feed_forward", y, {&rows, &w1, &b1, &w2, &b2},
             [rows = rows.detach(), w1 = w1.detach(), w2 = w2.detach(), z, activation](const Tensor& dy, Grads& dx) {
               FeedForwardGradients to;
               if (dx[0]) to.dx = dx[0].into();
               if (dx[1]) to.dw1 = dx[1].into();
               if (dx[2]) to.db1 = dx[2].into();
               if (dx[3]) to.dw2 = dx[3].into();
               if (dx[4]) to.db2 = dx[4].into();
               cpu::feed_forward_backward(dy, rows, w1, w2, z, activation, to);
             });
  return x.shape().rank() == 2 ? out : out.reshape(detail::with_columns(x.shape(), w2.dim(1)));
}

}  // namespace tessera
