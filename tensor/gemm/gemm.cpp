#include "tensor/gemm/gemm.h"

#include <algorithm>
#include <atomic>
#include <type_traits>

#include "tensor/core/parallel.h"
#include "tensor/core/tensor.h"
#include "tensor/gemm/backend.h"

namespace tessera {
namespace {

constexpr std::int64_t kTileRows = 256;          // as fast as any taller tile
constexpr std::int64_t kWantedTiles = 8;         // work for up to four threads, evenly
constexpr std::int64_t kLongK = 2048;            // from here on k may be cut
constexpr std::int64_t kMaxPartsSize = 1 << 21;  // elements of all parts together
constexpr double kSmallWork = 1e6;  // multiplications that one thread does in the time that waking another costs

std::atomic<std::uint64_t> operations{0};

std::int64_t ceil_div(std::int64_t x, std::int64_t y) { return (x + y - 1) / y; }
std::int64_t round_up(std::int64_t x, std::int64_t y) { return ceil_div(x, y) * y; }

template <class T>
void scale(std::int64_t m, std::int64_t n, T beta, T* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; ++j) c[i * ldc + j] = beta == T(0) ? T(0) : beta * c[i * ldc + j];
}

bool fills_tiles(const GemmShape& s) {
  return s.m >= detail::kAmxRows && s.n >= detail::kAmxColumns && s.k >= detail::kAmxDepth;
}

template <class T>
void tile_product(const GemmShape& shape, T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta,
                  T* c, std::int64_t ldc) {
  if (shape.m <= 0 || shape.n <= 0) return;
  if (shape.k <= 0) {
    scale(shape.m, shape.n, beta, c, ldc);
    return;
  }
  operations.fetch_add(static_cast<std::uint64_t>(2 * shape.m * shape.n * shape.k), std::memory_order_relaxed);
  if constexpr (std::is_same_v<T, float>) {
    const GemmBackend backend = gemm_backend();
    if (backend == GemmBackend::amx && fills_tiles(shape))
      return detail::amx_gemm(shape, alpha, a, lda, b, ldb, beta, c, ldc);
    if (backend == GemmBackend::onednn || (backend == GemmBackend::amx && has_onednn()))
      return detail::onednn_gemm(shape, alpha, a, lda, b, ldb, beta, c, ldc);
  }
  detail::eigen_gemm(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

// C += parts 1, 2, ... in that order, each (m, n) without gaps.
template <class T>
void add_parts(std::int64_t m, std::int64_t n, std::int64_t parts, const T* part, T* c, std::int64_t ldc) {
  parallel_rows(m, std::max<std::int64_t>(1, 16384 / n), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = 0; p < parts; ++p)
      for (std::int64_t i = begin; i < end; ++i) {
        const T* from = part + (p * m + i) * n;
        T* to = c + i * ldc;
        for (std::int64_t j = 0; j < n; ++j) to[j] += from[j];
      }
  });
}

template <class T>
void product(const GemmShape& shape, T alpha, const T* a, std::int64_t lda, const T* b, std::int64_t ldb, T beta, T* c,
             std::int64_t ldc) {
  const std::int64_t m = shape.m, n = shape.n, k = shape.k;
  if (m <= 0 || n <= 0) return;
  const detail::GemmPlan plan = detail::gemm_plan(m, n, k);
  const Tensor extra = plan.parts > 1 ? Tensor({plan.parts - 1, m, n}, dtype_of<T>) : Tensor();
  parallel_for(plan.parts * plan.row_tiles * plan.column_tiles, [&](std::int64_t tile) {
    const std::int64_t part = tile / (plan.row_tiles * plan.column_tiles);
    const std::int64_t row = tile / plan.column_tiles % plan.row_tiles * plan.tile_m;
    const std::int64_t column = tile % plan.column_tiles * plan.tile_n;
    const std::int64_t at = part * plan.part_k;
    GemmShape s = shape;
    s.m = std::min(plan.tile_m, m - row);
    s.n = std::min(plan.tile_n, n - column);
    s.k = std::min(plan.part_k, k - at);
    const T* x = a + (shape.transpose_a ? at * lda + row : row * lda + at);
    const T* y = b + (shape.transpose_b ? column * ldb + at : at * ldb + column);
    if (part == 0) tile_product(s, alpha, x, lda, y, ldb, beta, c + row * ldc + column, ldc);
    else tile_product(s, alpha, x, lda, y, ldb, T(0), extra.data<T>() + ((part - 1) * m + row) * n + column, n);
  });
  if (plan.parts > 1) add_parts(m, n, plan.parts - 1, extra.data<T>(), c, ldc);
}

}  // namespace

std::uint64_t gemm_operations() { return operations.load(std::memory_order_relaxed); }

detail::GemmPlan detail::gemm_plan(std::int64_t m, std::int64_t n, std::int64_t k) {
  GemmPlan plan{m, n, std::max<std::int64_t>(k, 1), 1, 1, 1};
  if (static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < kSmallWork) return plan;
  if (k >= kLongK && m * n <= kMaxPartsSize / kWantedTiles) {
    plan.part_k = round_up(ceil_div(k, kWantedTiles), 16);
    plan.parts = ceil_div(k, plan.part_k);
    return plan;
  }
  // Tiles of equal height, so that the last one is not a stump.
  plan.tile_m = round_up(ceil_div(m, ceil_div(m, kTileRows)), 16);
  plan.row_tiles = ceil_div(m, plan.tile_m);
  if (plan.row_tiles < kWantedTiles) {
    plan.tile_n = round_up(ceil_div(n, ceil_div(kWantedTiles, plan.row_tiles)), 64);
    plan.column_tiles = ceil_div(n, plan.tile_n);
  }
  return plan;
}

void gemm(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
          float beta, float* c, std::int64_t ldc) {
  product(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm(const GemmShape& shape, double alpha, const double* a, std::int64_t lda, const double* b, std::int64_t ldb,
          double beta, double* c, std::int64_t ldc) {
  product(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm_tile(const GemmShape& shape, float alpha, const float* a, std::int64_t lda, const float* b, std::int64_t ldb,
               float beta, float* c, std::int64_t ldc) {
  tile_product(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

void gemm_tile(const GemmShape& shape, double alpha, const double* a, std::int64_t lda, const double* b,
               std::int64_t ldb, double beta, double* c, std::int64_t ldc) {
  tile_product(shape, alpha, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace tessera
