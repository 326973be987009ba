#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tensor/autograd/parameter.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Initial values of a parameter, a pure function of (seed, full name): f(tensor, seed, stream).
using Initializer = std::function<void(Tensor& x, std::uint64_t seed, std::uint64_t stream)>;
TESSERA_API Initializer constant(double value);
TESSERA_API Initializer normal(double deviation);
TESSERA_API Initializer uniform(double bound);            // -bound .. bound
TESSERA_API Initializer near_identity(double deviation);  // of a square matrix: the identity plus normal noise
TESSERA_API Initializer xavier_uniform(std::int64_t in, std::int64_t out);  // Glorot and Bengio 2010

// A part with learnt tensors. Children are members that register themselves with their owner's name as prefix, so every
// parameter has a full name ("blocks.0.attention.qkv.weight") under which checkpoints hold it. Parameters have fixed
// addresses.
class TESSERA_API Module {
 public:
  Module() = default;
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // All parameters, own and children's, in registration order, with full names.
  std::vector<std::pair<std::string, Parameter*>> parameters();
  std::int64_t parameter_count();  // numbers, not tensors
  // Gives every parameter its initial value from (seed, prefix + full name).
  void initialize(std::uint64_t seed, const std::string& prefix);

 protected:
  Parameter& add_parameter(const std::string& name, Shape shape, Initializer initializer, bool decays = true);
  void add_module(const std::string& name, Module& child);  // child: a member of this object

 private:
  struct Own {
    Parameter parameter;
    Initializer initializer;
    Own(const std::string& name, Tensor value, Initializer i, bool decays)
        : parameter(name, std::move(value), decays), initializer(std::move(i)) {}
  };
  std::deque<Own> own_;
  std::vector<std::pair<std::string, Module*>> children_;
};

}  // namespace tessera
