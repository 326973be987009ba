#include "tensor/ops/norm/norm.h"

#include <utility>

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"

namespace tessera {
namespace {

void check_vector(const char* op, const char* name, const Tensor& x, const Tensor& v) {
  check(v.shape().rank() == 1 && v.numel() == x.columns() && v.dtype() == x.dtype(), op, ": ", name, " ",
        name_of(v.dtype()), " ", v.shape().text(), ", expected ", name_of(x.dtype()), " (", x.columns(), ") for x ",
        x.shape().text());
  check_agree(op, "x", x, name, v);
}

Tensor norm(const char* op, NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& bias, double eps) {
  check(x.columns() >= 1, op, ": x ", x.shape().text(), " has no columns");
  if (kind != NormKind::l2) check_vector(op, "gain", x, gain);
  if (bias) check_vector(op, "bias", x, bias);
  check(eps > 0.0, op, ": eps ", eps, ", expected more than 0");
  Tensor y(x.shape(), x.dtype(), x.device());
  Tensor stat({x.rows(), 2}, x.dtype(), x.device());
  TESSERA_ON_DEVICE(op, x.device(), norm_forward(kind, x, gain, bias, eps, y, stat));
  return record(op, y, {&x, &gain, &bias},
                [op, kind, eps, stat, x = x.detach(), gain = gain.detach()](const Tensor& dy, Grads& dx) {
                  GradSlot::Into into{{}, 0.0};
                  if (dx[0]) into = dx[0].into();
                  Tensor dgain, dbias;
                  if (dx[1]) dgain = Tensor(gain.shape(), x.dtype(), x.device());
                  if (dx[2]) dbias = Tensor({x.columns()}, x.dtype(), x.device());
                  TESSERA_ON_DEVICE(op, x.device(),
                                    norm_backward(kind, x, gain, stat, eps, dy, into.beta, into.buffer, dgain, dbias));
                  if (dgain) dx[1].add(std::move(dgain));
                  if (dbias) dx[2].add(std::move(dbias));
                });
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, double eps) {
  return norm("layer_norm", NormKind::layer, x, gain, bias, eps);
}

Tensor rms_norm(const Tensor& x, const Tensor& gain, double eps) {
  return norm("rms_norm", NormKind::rms, x, gain, Tensor(), eps);
}

Tensor l2_normalize(const Tensor& x, double eps) {
  return norm("l2_normalize", NormKind::l2, x, Tensor(), Tensor(), eps);
}

}  // namespace tessera
