#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

// Product quantisation (Jegou, Douze and Schmid 2011): rows of x (N, D) are cut into M parts of D / M numbers, and each
// part has a codebook of its own: codebooks (M, K, D / M). Nothing here is recorded.

// The nearest code of every part by squared Euclidean distance, argmin_k |c_k|^2 - 2 x_m . c_k: (N, M), row by row. The
// search keeps the distances in registers. Ties go to the smaller code. What a row gets does not depend on the other
// rows.
TESSERA_API std::vector<std::int32_t> nearest_product_codes(const Tensor& x, const Tensor& codebooks);

// Rows put together from codes (N, M): (N, D); a part with code -1 is zero.
TESSERA_API Tensor decode_product_codes(std::span<const std::int32_t> codes, const Tensor& codebooks);

// Codebooks at the means of the parts that have their codes, (M, K, D / M); hits: (M, K) how many those are. A code
// without rows keeps its row of `codebooks`.
TESSERA_API Tensor product_code_means(const Tensor& x, std::span<const std::int32_t> codes, const Tensor& codebooks,
                                      std::vector<std::int64_t>& hits);

namespace cpu {
void nearest_product_codes(const Tensor& x, const Tensor& codebooks, std::int32_t* code);
void product_code_means(const Tensor& x, std::span<const std::int32_t> codes, Tensor& means, std::int64_t* hits);
}  // namespace cpu

}  // namespace tessera
