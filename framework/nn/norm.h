#pragma once

#include <string>

#include "framework/nn/module.h"
#include "tensor/ops/norm/norm.h"

namespace tessera {

TESSERA_API NormKind parse_norm(const std::string& name);  // "layer" or "rms"; throws Error otherwise

// Layer norm with gain and bias, or RMS norm with a gain, over the last dimension. Neither decays.
class TESSERA_API Norm : public Module {
 public:
  Norm(std::int64_t width, NormKind kind, bool bias = true);  // bias: of a layer norm
  ~Norm() override;
  Tensor operator()(const Tensor& x);

 private:
  NormKind kind_;
  Parameter& gain_;
  Parameter* bias_ = nullptr;
};

}  // namespace tessera
