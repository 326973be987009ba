#pragma once

#include <cstdint>

#include "tensor/gemm/gemm.h"

namespace tessera::detail {

// One product in the calling thread, by one library. Arguments as gemm(); m, n, k >= 1.
void eigen_gemm(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
                float beta, float* c, std::int64_t ldc);
void eigen_gemm(const GemmShape& shape, double alpha, const double* a, std::int64_t lda, const double* b,
                std::int64_t ldb, double beta, double* c, std::int64_t ldc);
void onednn_gemm(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b,
                 std::int64_t ldb, float beta, float* c, std::int64_t ldc);
void amx_gemm(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
              float beta, float* c, std::int64_t ldc);
// Products with fewer rows, columns or a shorter sum leave tiles half empty.
constexpr std::int64_t kAmxRows = 48, kAmxColumns = 48, kAmxDepth = 32;

// For gemm() and its tests: how a product is cut, by its shape alone: tiles of C, and, where C is small and k long,
// parts of k.
struct GemmPlan {
  std::int64_t tile_m = 0, tile_n = 0, part_k = 0;
  std::int64_t row_tiles = 0, column_tiles = 0, parts = 0;
};
TESSERA_API GemmPlan gemm_plan(std::int64_t m, std::int64_t n, std::int64_t k);

}  // namespace tessera::detail
