#include "tensor/ops/dropout/dropout.h"

#include <cmath>
#include <utility>

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/random.h"

namespace tessera {

DropoutKey take_dropout_key(const char* op, double p) {
  check(p >= 0.0 && p < 1.0, op, ": probability ", p, ", expected 0 <= p < 1");
  TrainingScope* scope = TrainingScope::current();
  if (!scope || p == 0.0) return {};
  const auto threshold = static_cast<std::uint32_t>(std::fmin(std::ceil(p * 65536.0 - 0.5), 65535.0));
  return {scope->seed(), scope->next_stream(), threshold};
}

Tensor dropout(const Tensor& x, double p) {
  const DropoutKey key = take_dropout_key("dropout", p);
  if (key.threshold == 0) return x;
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE("dropout", x.device(), dropout(x, nullptr, key, y));
  return record("dropout", y, {&x}, [key](const Tensor& dy, Grads& dx) {
    Tensor g(dy.shape(), dy.dtype(), dy.device());
    TESSERA_ON_DEVICE("dropout", dy.device(), dropout(dy, nullptr, key, g));
    dx[0].add(std::move(g));
  });
}

Tensor add_dropout(const Tensor& x, const Tensor& r, double p) {
  check(x.shape() == r.shape() && x.dtype() == r.dtype(), "add_dropout: x ", x.shape().text(), " ", name_of(x.dtype()),
        ", r ", r.shape().text(), " ", name_of(r.dtype()), ": expected the same shape and type");
  check_agree("add_dropout", "x", x, "r", r);
  const DropoutKey key = take_dropout_key("add_dropout", p);
  Tensor y(x.shape(), x.dtype(), x.device());
  TESSERA_ON_DEVICE("add_dropout", x.device(), dropout(r, &x, key, y));
  return record("add_dropout", y, {&x, &r}, [key](const Tensor& dy, Grads& dx) {
    if (dx[1]) {
      Tensor g = dy;
      if (key.threshold != 0) {
        g = Tensor(dy.shape(), dy.dtype(), dy.device());
        TESSERA_ON_DEVICE("add_dropout", dy.device(), dropout(dy, nullptr, key, g));
      }
      dx[1].add(std::move(g));
    }
    if (dx[0]) dx[0].add(dy);
  });
}

}  // namespace tessera
