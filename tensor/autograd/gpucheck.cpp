#include "tensor/autograd/gpucheck.h"

#include <algorithm>
#include <cmath>

#include "tensor/autograd/tape.h"

namespace tessera {
namespace {

// The result and the gradients of the f64 inputs, in f64 on the CPU.
std::vector<Tensor> run(const GradcheckFunction& function, const std::vector<Tensor>& inputs, std::uint64_t seed,
                        DType type, Device device) {
  const auto moved = [&](const Tensor& x) { return (x.dtype() == DType::f64 ? x.to(type) : x).to(device); };
  Tape tape;
  std::vector<Tensor> arguments;
  for (const Tensor& x : inputs) arguments.push_back(x.dtype() == DType::f64 ? tape.watch(moved(x)) : moved(x));
  const Tensor y = function(arguments);
  std::vector<Tensor> out = {y};
  if (y.node() >= 0) {
    tape.backward(y, moved(random_f64(y.shape(), seed)));
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (inputs[k].dtype() != DType::f64) continue;
      const Tensor gradient = tape.gradient(arguments[k]);
      out.push_back(gradient ? gradient : Tensor::zeros(inputs[k].shape(), type));
    }
  }
  for (Tensor& x : out) x = x.to(Device::cpu()).to(DType::f64);
  return out;
}

}  // namespace

double gpucheck(const GradcheckFunction& function, const std::vector<Tensor>& inputs, std::uint64_t seed) {
  const auto gpu = run(function, inputs, seed, DType::f32, Device::cuda()),
             cpu = run(function, inputs, seed, DType::f64, Device::cpu());
  check(gpu.size() == cpu.size(), "gpucheck: one side was recorded, the other was not");
  double worst = 0;
  for (std::size_t k = 0; k < cpu.size(); ++k) {
    check(gpu[k].shape() == cpu[k].shape(), "gpucheck: the gpu gives ", gpu[k].shape().text(), ", the cpu ",
          cpu[k].shape().text());
    for (std::int64_t i = 0; i < cpu[k].numel(); ++i) {
      const double a = gpu[k].data<double>()[i], b = cpu[k].data<double>()[i];
      const double error = std::abs(a - b) / std::max(1.0, std::abs(b));
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

}  // namespace tessera
