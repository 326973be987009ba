#pragma once

#include "tensor/core/tensor.h"

namespace tessera {

// Over the last dimension D. x: (..., D), gain: (D), bias: (D) or empty. Keeps one or two numbers a row for the
// backward pass. layer_norm: y = (x - mean) / sqrt(variance + eps) gain + bias (Ba et al. 2016; variance with 1/D).
// rms_norm:   y = x / sqrt(mean(x^2) + eps) gain (Zhang and Sennrich 2019).
// Gradients, with n the normalised row and g = dy gain: layer_norm dx = (g - mean(g) - n mean(g n)) / deviation;
// rms_norm dx = (g - n mean(g n)) / rms; dgain = column sums of dy n; dbias = column sums of dy.
TESSERA_API Tensor layer_norm(const Tensor& x, const Tensor& gain, const Tensor& bias, double eps = 1e-5);
TESSERA_API Tensor rms_norm(const Tensor& x, const Tensor& gain, double eps = 1e-6);

// y = x / max(|x|, eps) a row (L2). Gradient: dx = (dy - y (y . dy)) / |x|, and dy / eps where |x| <= eps.
TESSERA_API Tensor l2_normalize(const Tensor& x, double eps = 1e-12);

// The kernels. stat: (rows, 2) in the type of x: mean and 1 / deviation; rms_norm and l2_normalize have mean 0.
enum class NormKind { layer, rms, l2 };
namespace cpu {
void norm_forward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& bias, double eps, Tensor& y,
                  Tensor& stat);
// dx = beta dx + ...; dgain and dbias (D) are overwritten; any of the three may be empty.
void norm_backward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& stat, double eps, const Tensor& dy,
                   double beta, Tensor& dx, Tensor& dgain, Tensor& dbias);
}  // namespace cpu
namespace cuda {
void norm_forward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& bias, double eps, Tensor& y,
                  Tensor& stat);
void norm_backward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& stat, double eps, const Tensor& dy,
                   double beta, Tensor& dx, Tensor& dgain, Tensor& dbias);
}  // namespace cuda

}  // namespace tessera
