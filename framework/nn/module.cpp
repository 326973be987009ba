#include "framework/nn/module.h"

#include <cmath>

#include "tensor/core/dispatch.h"
#include "tensor/core/random.h"

namespace tessera {

Initializer constant(double value) {
  return [value](Tensor& x, std::uint64_t, std::uint64_t) { x.fill(value); };
}
Initializer normal(double deviation) {
  return [deviation](Tensor& x, std::uint64_t seed, std::uint64_t stream) {
    fill_normal(x, 0.0, deviation, seed, stream);
  };
}
Initializer uniform(double bound) {
  return [bound](Tensor& x, std::uint64_t seed, std::uint64_t stream) { fill_uniform(x, -bound, bound, seed, stream); };
}
Initializer near_identity(double deviation) {
  return [deviation](Tensor& x, std::uint64_t seed, std::uint64_t stream) {
    fill_normal(x, 0.0, deviation, seed, stream);
    dispatch_float("near_identity", x.dtype(), [&](auto type) {
      using T = decltype(type);
      for (std::int64_t i = 0; i < x.dim(0); ++i) x.data<T>()[i * (x.dim(1) + 1)] += T(1);
    });
  };
}
Initializer xavier_uniform(std::int64_t in, std::int64_t out) {
  return uniform(std::sqrt(6.0 / static_cast<double>(in + out)));
}

Module::~Module() = default;

Parameter& Module::add_parameter(const std::string& name, Shape shape, Initializer initializer, bool decays) {
  return own_.emplace_back(name, Tensor::zeros(shape), std::move(initializer), decays).parameter;
}

void Module::add_module(const std::string& name, Module& child) { children_.emplace_back(name, &child); }

std::vector<std::pair<std::string, Parameter*>> Module::parameters() {
  std::vector<std::pair<std::string, Parameter*>> all;
  for (auto& own : own_) all.emplace_back(own.parameter.name, &own.parameter);
  for (auto& [name, child] : children_)
    for (auto& [inner, parameter] : child->parameters()) all.emplace_back(name + "." + inner, parameter);
  return all;
}

std::int64_t Module::parameter_count() {
  std::int64_t count = 0;
  for (auto& [name, parameter] : parameters()) count += parameter->value.numel();
  return count;
}

void Module::initialize(std::uint64_t seed, const std::string& prefix) {
  for (auto& own : own_) own.initializer(own.parameter.value, seed, stream_of(prefix + own.parameter.name));
  for (auto& [name, child] : children_) child->initialize(seed, prefix + name + ".");
}

}  // namespace tessera
