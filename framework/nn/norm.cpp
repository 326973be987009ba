#include "framework/nn/norm.h"

namespace tessera {

NormKind parse_norm(const std::string& name) {
  if (name == "layer") return NormKind::layer;
  check(name == "rms", "norm: '", name, "', expected \"layer\" or \"rms\"");
  return NormKind::rms;
}

Norm::Norm(std::int64_t width, NormKind kind, bool bias)
    : kind_(kind), gain_(add_parameter("gain", {width}, constant(1.0), false)) {
  if (bias && kind == NormKind::layer) bias_ = &add_parameter("bias", {width}, constant(0.0), false);
}

Norm::~Norm() = default;

Tensor Norm::operator()(const Tensor& x) {
  return kind_ == NormKind::rms ? rms_norm(x, gain_()) : layer_norm(x, gain_(), bias_ ? (*bias_)() : Tensor());
}

}  // namespace tessera
