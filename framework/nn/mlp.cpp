#include "framework/nn/mlp.h"

namespace tessera {

Mlp::Mlp(const std::vector<std::int64_t>& widths, Activation activation) : activation_(activation) {
  check(!widths.empty(), "mlp: no widths, expected at least one");
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    check(widths[i] >= 1 && widths[i + 1] >= 1, "mlp: widths ", widths[i], " and ", widths[i + 1],
          ", expected 1 or more");
    Parameter& weight =
        add_parameter(str(i, ".weight"), {widths[i], widths[i + 1]}, xavier_uniform(widths[i], widths[i + 1]));
    layers_.push_back({&weight, &add_parameter(str(i, ".bias"), {widths[i + 1]}, constant(0.0), false)});
  }
}

Mlp::~Mlp() = default;

Tensor Mlp::operator()(const Tensor& x) {
  Tensor y = x;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    y = linear(y, (*layers_[i].weight)(), (*layers_[i].bias)(),
               i + 1 < layers_.size() ? activation_ : Activation::none);
  return y;
}

Tensor Mlp::frozen(const Tensor& x) const {
  Tensor y = x;
  for (std::size_t i = 0; i < layers_.size(); ++i)
    y = linear(y, layers_[i].weight->value.detach(), layers_[i].bias->value.detach(),
               i + 1 < layers_.size() ? activation_ : Activation::none);
  return y;
}

}  // namespace tessera
