#include "tensor/ops/softmax/softmax.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"

namespace tessera {

Tensor softmax(const Tensor& x) {
  check(x.columns() >= 1, "softmax: x ", x.shape().text(), " has no classes");
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE("softmax", x.device(), softmax_forward(x, y));
  return record("softmax", y, {&x}, [y](const Tensor& dy, Grads& dx) {
    Tensor g(y.shape(), y.dtype(), y.device());
    TESSERA_ON_DEVICE("softmax", y.device(), softmax_backward(y, dy, g));
    dx[0].add(std::move(g));
  });
}

Tensor log_softmax(const Tensor& x) {
  check(x.columns() >= 1, "log_softmax: x ", x.shape().text(), " has no classes");
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE("log_softmax", x.device(), log_softmax_forward(x, y));
  return record("log_softmax", y, {&x}, [y](const Tensor& dy, Grads& dx) {
    Tensor g(y.shape(), y.dtype(), y.device());
    TESSERA_ON_DEVICE("log_softmax", y.device(), log_softmax_backward(y, dy, g));
    dx[0].add(std::move(g));
  });
}

Tensor log_sum_exp(const Tensor& x) {
  check(x.columns() >= 1, "log_sum_exp: x ", x.shape().text(), " has no classes");
  require_cpu_kernel("log_sum_exp", x.device());
  Tensor y({x.rows()}, x.dtype(), x.device());
  cpu::log_sum_exp_forward(x, y);
  return record("log_sum_exp", y, {&x}, [x = x.detach(), y](const Tensor& dy, Grads& dx) {
    Tensor g(x.shape(), x.dtype(), x.device());
    cpu::log_sum_exp_backward(x, y, dy, g);
    dx[0].add(std::move(g));
  });
}

}  // namespace tessera
