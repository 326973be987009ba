#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// The one seam for matrix products on the CPU: C = alpha op(A) op(B) + beta C, row-major, with leading dimensions.
// op(A) is (m, k), op(B) is (k, n), C is (m, n); with transpose_a, A is stored (k, m). beta = 0 never reads C.
// C is cut into tiles that depend on (m, n, k) alone; each tile is one single-threaded library call, so the bits do not
// depend on the number of threads. Where C is small and k long, k is cut too and the parts are added in a fixed tree.
struct GemmShape {
  bool transpose_a = false, transpose_b = false;
  std::int64_t m = 0, n = 0, k = 0;
};
TESSERA_API void gemm(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b,
                      std::int64_t ldb, float beta, float* c, std::int64_t ldc);
TESSERA_API void gemm(const GemmShape& shape, double alpha, const double* a, std::int64_t lda, const double* b,
                      std::int64_t ldb, double beta, double* c, std::int64_t ldc);

// One tile in this thread, for fused ops that go on with the result while it is in the cache.
TESSERA_API void gemm_tile(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b,
                           std::int64_t ldb, float beta, float* c, std::int64_t ldc);
TESSERA_API void gemm_tile(const GemmShape& shape, double alpha, const double* a, std::int64_t lda, const double* b,
                           std::int64_t ldb, double beta, double* c, std::int64_t ldc);

// run.gemm = "auto" | "eigen" | "onednn" | "amx". auto takes amx where the processor has it; else it measures the other
// two for a few milliseconds at layer shapes and keeps the faster one, oneDNN where they are alike. The choice goes
// into the manifest, and a resumed run takes it from there. amx leaves f64 and small products to the others.
enum class GemmBackend { eigen, onednn, amx };
TESSERA_API void set_gemm_backend(const std::string& name);  // throws Error for an unknown or an absent backend
TESSERA_API GemmBackend gemm_backend();
TESSERA_API const char* gemm_backend_name();  // "eigen", "onednn" or "amx"
TESSERA_API bool has_onednn();
TESSERA_API bool has_amx();  // the processor multiplies tiles of bf16, and the system lets us use them
TESSERA_API const std::vector<std::string>& gemm_backends();  // what this build has on this machine

// Floating-point operations (2 m n k) of all products of this process so far.
TESSERA_API std::uint64_t gemm_operations();

}  // namespace tessera
