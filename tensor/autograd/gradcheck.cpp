#include "tensor/autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

double weighted_sum(const Tensor& y, const Tensor& weights) {
  double sum = 0;
  for (std::int64_t i = 0; i < y.numel(); ++i) sum += y.data<double>()[i] * weights.data<double>()[i];
  return sum;
}

}  // namespace

Tensor random_f64(Shape shape, std::uint64_t seed, double deviation) {
  Tensor x(shape, DType::f64);
  fill_normal(x, 0.0, deviation, seed, stream_of("gradcheck"));
  return x;
}

double gradcheck(const GradcheckFunction& function, std::vector<Tensor> inputs, std::uint64_t seed, double step) {
  for (auto& x : inputs) x = x.clone();
  std::vector<Tensor> analytic(inputs.size());
  Tensor cotangent;
  {
    Tape tape;
    std::vector<Tensor> watched;
    for (const auto& x : inputs) watched.push_back(x.dtype() == DType::f64 ? tape.watch(x) : x);
    const Tensor y = function(watched);
    check(y.dtype() == DType::f64, "gradcheck: the function returns ", name_of(y.dtype()), ", expected f64");
    cotangent = random_f64(y.shape(), seed);
    tape.backward(y, cotangent.clone());
    for (std::size_t k = 0; k < inputs.size(); ++k)
      if (inputs[k].dtype() == DType::f64) {
        const Tensor gradient = tape.gradient(watched[k]);
        analytic[k] = gradient ? gradient.clone() : Tensor::zeros(inputs[k].shape(), DType::f64);
      }
  }
  const NoTape no_recording;
  double worst = 0;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (inputs[k].dtype() != DType::f64) continue;
    for (std::int64_t i = 0; i < inputs[k].numel(); ++i) {
      double& x = inputs[k].data<double>()[i];
      const double kept = x;
      x = kept + step;
      const double above = weighted_sum(function(inputs), cotangent);
      x = kept - step;
      const double below = weighted_sum(function(inputs), cotangent);
      x = kept;
      const double numeric = (above - below) / (2 * step);
      const double error = std::abs(analytic[k].data<double>()[i] - numeric) / std::max(1.0, std::abs(numeric));
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

}  // namespace tessera
