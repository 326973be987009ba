#pragma once

#include "tensor/core/tensor.h"

namespace tessera {

// y = op(a) op(b). a: (M, K), or (K, M) with transpose_a; b: (K, N), or (N, K) with transpose_b. Returns (M, N).
// Gradient (no transposes): da = dy b^T, db = a^T dy. Throws Error where the inner sizes differ.
TESSERA_API Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);

namespace cpu {
// y = op(a) op(b) + beta y
void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, double beta, Tensor& y);
}  // namespace cpu
namespace cuda {
void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, double beta, Tensor& y);
}  // namespace cuda

}  // namespace tessera
