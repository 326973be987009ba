#include "tensor/ops/adamw/adamw.h"

#include <cmath>

#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"

namespace tessera {

detail::AdamWFactors detail::adamw_factors(const AdamWStep& step, double weight_decay) {
  const auto t = static_cast<double>(step.step);
  return {step.learning_rate / (1.0 - std::pow(step.beta1, t)), 1.0 / std::sqrt(1.0 - std::pow(step.beta2, t)),
          1.0 - step.learning_rate * weight_decay};
}

void adamw(std::span<AdamWTensor> parameters, const AdamWStep& step) {
  check(step.step >= 1, "adamw: step ", step.step, ", expected 1 or more");
  check(step.beta1 >= 0 && step.beta1 < 1 && step.beta2 >= 0 && step.beta2 < 1, "adamw: beta1 ", step.beta1, ", beta2 ",
        step.beta2, ", expected 0 .. 1 without 1");
  if (parameters.empty()) return;
  const Device device = parameters[0].value.device();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const AdamWTensor& p = parameters[i];
    const auto agrees = [&](const char* name, const Tensor& x) {
      check_agree("adamw", "value", p.value, name, x);
      check(x.shape() == p.value.shape(), "adamw: tensor ", i, " has value ", p.value.shape().text(), " and ", name,
            " ", x.shape().text(), ", expected the same shape");
    };
    agrees("gradient", p.gradient);
    agrees("first moment", p.first);
    agrees("second moment", p.second);
    check(p.value.device() == device, "adamw: tensor ", i, " is on ", p.value.device().text(), ", tensor 0 on ",
          device.text(), ", expected one device");
  }
  TESSERA_ON_DEVICE("adamw", device, adamw(parameters, step));
}

double global_norm(std::span<const Tensor> tensors) {
  if (tensors.empty()) return 0.0;
  const Device device = tensors[0].device();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    check_present("global_norm", "a tensor", tensors[i]);
    check(tensors[i].device() == device, "global_norm: tensor ", i, " is on ", tensors[i].device().text(),
          ", tensor 0 on ", device.text(), ", expected one device");
  }
  double sum = 0.0;
  TESSERA_ON_DEVICE("global_norm", device, sum_of_squares(tensors, sum));
  return std::sqrt(sum);
}

}  // namespace tessera
