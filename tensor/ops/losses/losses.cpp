#include "tensor/ops/losses/losses.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {

Tensor mse(const Tensor& x, const Tensor& y) {
  check_agree("mse", "x", x, "y", y);
  check(x.shape() == y.shape(), "mse: x ", x.shape().text(), ", y ", y.shape().text(), ", expected the same shape");
  check(x.numel() > 0, "mse: x ", x.shape().text(), " has no elements");
  const double factor = 1.0 / static_cast<double>(x.numel());
  Tensor loss(Shape{}, x.dtype(), x.device());
  TESSERA_ON_DEVICE("mse", x.device(), squared_difference(x, y, factor, loss));
  return record("mse", loss, {&x, &y}, [x = x.detach(), y = y.detach(), factor](const Tensor& dy, Grads& dx) {
    Tensor g(x.shape(), x.dtype(), x.device());
    TESSERA_ON_DEVICE("mse", x.device(), scaled_difference(x, y, 2.0 * factor, dy, g));
    if (dx[1]) dx[1].add(scale(g, -1.0));
    if (dx[0]) dx[0].add(std::move(g));
  });
}

// The other two work on one number a sample: composed of plain ops.
Tensor bce_with_logits(const Tensor& logit, std::span<const float> label) {
  check_present("bce_with_logits", "logit", logit);
  check(static_cast<std::int64_t>(label.size()) == logit.numel(), "bce_with_logits: ", label.size(),
        " labels for logit ", logit.shape().text());
  check(!label.empty(), "bce_with_logits: logit ", logit.shape().text(), " has no elements");
  for (std::size_t i = 0; i < label.size(); ++i)
    check(label[i] >= 0.0f && label[i] <= 1.0f, "bce_with_logits: label[", i, "] is ", label[i], ", expected 0 .. 1");
  const Tensor target = Tensor::from(label, logit.shape()).to(logit.dtype()).to(logit.device());
  return mean(subtract(softplus(logit), multiply(logit, target)));
}

Tensor bpr(const Tensor& positive, const Tensor& negative) {
  check_agree("bpr", "positive", positive, "negative", negative);
  check(positive.shape() == negative.shape(), "bpr: positive ", positive.shape().text(), ", negative ",
        negative.shape().text(), ", expected the same shape");
  return mean(softplus(subtract(negative, positive)));
}

}  // namespace tessera
