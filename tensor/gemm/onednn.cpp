#include "tensor/core/error.h"
#include "tensor/gemm/backend.h"

#ifdef TESSERA_WITH_ONEDNN
#include <oneapi/dnnl/dnnl.h>

// Of the OpenMP library that oneDNN brings along; absent where oneDNN was built without OpenMP.
extern "C" __attribute__((weak)) void omp_set_num_threads(int threads);
#endif

namespace tessera {

#ifdef TESSERA_WITH_ONEDNN

bool has_onednn() { return true; }

void detail::onednn_gemm(const GemmShape& s, float alpha, const float* a, std::int64_t lda, const float* b,
                         std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  // Tiles are spread over our own threads; each of them tells OpenMP once that it wants no others.
  thread_local const bool alone = [] {
    if (omp_set_num_threads != nullptr) omp_set_num_threads(1);
    return true;
  }();
  static_cast<void>(alone);
  const dnnl_status_t status = dnnl_sgemm(s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', s.m, s.n, s.k, alpha, a,
                                          lda, b, ldb, beta, c, ldc);
  check(status == dnnl_success, "gemm: oneDNN failed with status ", static_cast<int>(status), " at m ", s.m, ", n ",
        s.n, ", k ", s.k, "; set run.gemm = \"eigen\"");
}

#else

bool has_onednn() { return false; }

void detail::onednn_gemm(const GemmShape&, float, const float*, std::int64_t, const float*, std::int64_t, float, float*,
                         std::int64_t) {
  throw Error("gemm: this build has no oneDNN");
}

#endif

}  // namespace tessera
