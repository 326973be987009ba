#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/core/simd.h"

// Small matrix products for blocks that lie in the cache: C (m, n) = A (m, k) B (k, n), n a whole number of vectors.
// A block of C stays in registers while k runs; A is read number by number, so it may lie transposed.
namespace tessera::cpu {

inline constexpr int kBlockRows = simd::kRegisters == 32 ? 8 : 6;
inline constexpr int kBlockVectors = simd::kRegisters == 32 ? 3 : 2;

template <class T>
struct Left {  // element (i, p) is at[i * row + p * step]
  const T* at;
  std::int64_t row, step;
};

template <class T>
inline std::int64_t vectors(std::int64_t n) {
  return (n + simd::kLanes<T> - 1) / simd::kLanes<T>;
}
template <class T>
inline std::int64_t padded(std::int64_t n) {
  return vectors<T>(n) * simd::kLanes<T>;
}

template <class T, int kRows, int kVectors>
inline void product_block(std::int64_t k, Left<T> a, const T* b, std::int64_t ldb, T* c, std::int64_t ldc, bool add) {
  using simd::Vec;
  constexpr int kLanes = simd::kLanes<T>;
  Vec<T> sum[kRows][kVectors] = {};
  if (add) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] = simd::load(c + i * ldc + j * kLanes);
  }
  for (std::int64_t p = 0; p < k; ++p, a.at += a.step, b += ldb) {
    Vec<T> right[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) right[j] = simd::load(b + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> left = simd::broadcast(a.at[i * a.row]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] += left * right[j];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) simd::store(c + i * ldc + j * kLanes, sum[i][j]);
}

// The block with m rows and n vectors, 1 <= m <= kBlockRows and 1 <= n <= kBlockVectors.
template <class T, int kRows = kBlockRows, int kVectors = kBlockVectors>
inline void product_any(std::int64_t m, std::int64_t n, std::int64_t k, Left<T> a, const T* b, std::int64_t ldb, T* c,
                        std::int64_t ldc, bool add) {
  if constexpr (kVectors > 1)
    if (n < kVectors) return product_any<T, kRows, kVectors - 1>(m, n, k, a, b, ldb, c, ldc, add);
  if constexpr (kRows > 1)
    if (m < kRows) return product_any<T, kRows - 1, kVectors>(m, n, k, a, b, ldb, c, ldc, add);
  product_block<T, kRows, kVectors>(k, a, b, ldb, c, ldc, add);
}

// C = A B, or C += A B; n counts vectors. C has n whole vectors a row.
template <class T>
void product(std::int64_t m, std::int64_t n, std::int64_t k, Left<T> a, const T* b, std::int64_t ldb, T* c,
             std::int64_t ldc, bool add) {
  if (n == 0) return;
  const std::int64_t parts = (n + kBlockVectors - 1) / kBlockVectors, wide = (n + parts - 1) / parts;
  for (std::int64_t j = 0; j < n; j += wide)
    for (std::int64_t i = 0; i < m; i += kBlockRows)
      product_any<T>(std::min<std::int64_t>(kBlockRows, m - i), std::min(wide, n - j), k,
                     {a.at + i * a.row, a.row, a.step}, b + j * simd::kLanes<T>, ldb, c + i * ldc + j * simd::kLanes<T>,
                     ldc, add);
}

}  // namespace tessera::cpu
