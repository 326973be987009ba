#include "tensor/core/dispatch.h"
#include "tensor/cuda/reduce.cuh"
#include "tensor/ops/adamw/adamw.h"

namespace tessera::cuda {
namespace {

template <class T>
void update(const AdamWTensor& p, const AdamWStep& step) {
  const detail::AdamWFactors factors = detail::adamw_factors(step, p.weight_decay);
  const T b1 = static_cast<T>(step.beta1), b2 = static_cast<T>(step.beta2), eps = static_cast<T>(step.eps);
  const T c1 = static_cast<T>(1.0 - step.beta1), c2 = static_cast<T>(1.0 - step.beta2);
  const T rate = static_cast<T>(factors.rate), root = static_cast<T>(factors.root), keep = static_cast<T>(factors.keep);
  const T by = static_cast<T>(step.gradient_scale);
  T *value = p.value.data<T>(), *first = p.first.data<T>(), *second = p.second.data<T>();
  const T* gradient = p.gradient.data<T>();
  for_each(p.value.device(), p.value.numel(), [=] __device__(std::int64_t i) {
    const T g = by * gradient[i];
    const T m = first[i] = b1 * first[i] + c1 * g;
    const T v = second[i] = b2 * second[i] + c2 * g * g;
    value[i] = keep * value[i] - rate * m / (sqrt(v) * root + eps);
  });
}

template <class T>
void square_tiles(const Tensor& x, double* part) {
  const T* from = x.data<T>();
  const auto square = [=] __device__(std::int64_t i) {
    const double value = static_cast<double>(from[i]);
    return value * value;
  };
  sum_each_tile(x.device(), x.numel(), square, part);
}

}  // namespace

void adamw(std::span<AdamWTensor> parameters, const AdamWStep& step) {
  for (const AdamWTensor& p : parameters)
    dispatch_float("adamw", p.value.dtype(), [&](auto type) { update<decltype(type)>(p, step); });
}

void sum_of_squares(std::span<const Tensor> tensors, double& out) {
  const Device device = tensors[0].device();
  std::int64_t tiles = 0;
  for (const Tensor& x : tensors) tiles += sum_tiles(x.numel());
  const Tensor part({tiles}, DType::f64, device), total(Shape{}, DType::f64, device);
  double* to = part.data<double>();
  for (const Tensor& x : tensors) {
    dispatch_float("global_norm", x.dtype(), [&](auto type) { square_tiles<decltype(type)>(x, to); });
    to += sum_tiles(x.numel());
  }
  sum_parts(device, tiles, part.data<double>(), 1.0, total.data<double>());
  out = total.item();
}

}  // namespace tessera::cuda
