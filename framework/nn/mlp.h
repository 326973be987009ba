#pragma once

#include <cstdint>
#include <vector>

#include "framework/nn/module.h"
#include "tensor/ops/linear/linear.h"

namespace tessera {

// Linear layers of the given widths, widths[0] in and widths.back() out, with an activation between them and none after
// the last. Weights start Xavier-uniform, biases at zero. With a single width it is the identity.
class TESSERA_API Mlp : public Module {
 public:
  explicit Mlp(const std::vector<std::int64_t>& widths, Activation activation = Activation::relu);
  ~Mlp() override;
  Tensor operator()(const Tensor& x);    // (..., widths[0]) -> (..., widths.back())
  Tensor frozen(const Tensor& x) const;  // the same with the weights as constants: the gradient goes to x alone

 private:
  struct Layer {
    Parameter *weight, *bias;
  };
  std::vector<Layer> layers_;
  Activation activation_;
};

}  // namespace tessera
