#pragma once

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

struct EigenSystem {
  Tensor values;   // (D), falling
  Tensor vectors;  // (D, D), unit eigenvectors as columns
};

// Eigenvalues and eigenvectors of a symmetric matrix (D, D) in f64; its lower triangle is read. The sign of each vector
// is such that its number of largest size is positive. In the calling thread. Throws Error where the matrix is not
// square or not finite.
TESSERA_API EigenSystem symmetric_eigen(const Tensor& matrix);

// x of a x = b for a symmetric, positive definite a (D, D) and b (D, N), in f64. In the calling thread. Throws Error
// where sizes do not fit or a is not positive definite.
TESSERA_API Tensor solve_symmetric(const Tensor& a, const Tensor& b);

// The orthogonal matrix nearest to a square matrix (D, D), f32 or f64: U V' of its singular value decomposition
// U S V'. By the Newton-Schulz iteration with optimal scaling (Chen and Chow 2014), so by matrix products alone: (D, D)
// in the type of the matrix, orthogonal to about 1e-6 in f32 and 1e-12 in f64. Throws Error where the matrix is not
// square, not finite or (to f32) singular.
TESSERA_API Tensor polar_factor(const Tensor& matrix);

// Column means (D) and covariance (D, D), by 1/N, of the rows of x (N, D) f32, in f64.
struct Moments {
  Tensor mean, covariance;
};
TESSERA_API Moments moments(const Tensor& x);

}  // namespace tessera
