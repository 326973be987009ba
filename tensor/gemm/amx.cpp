#include "tensor/core/error.h"
#include "tensor/gemm/backend.h"

#if defined(__x86_64__) && defined(__linux__)
#define TESSERA_WITH_AMX
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"  // of the compiler's own AVX-512 header
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#pragma GCC target("avx512f,avx512bw,avx512vl,amx-tile,amx-bf16,prfchw")
#endif

// Products of f32 on Intel's matrix tiles (AMX), which multiply bf16 and sum in f32. A number of 24 bits is exactly the
// sum of three bf16: its first 8 bits, the next 8 and the rest. Of the nine products of parts the six largest are
// taken; the others are below 2^-22 of the whole, about what a rounding in f32 loses. So the result is as exact as a
// product in f32 (often more: 32 products are added before they meet the sum so far). What it gains: README.md, Speed.
// An infinite factor gives NaN; parts below 1e-38 count as zero.
namespace tessera {

#ifdef TESSERA_WITH_AMX

namespace {

constexpr std::int64_t kTile = 16;                  // rows of a tile, and columns of one of f32
constexpr std::int64_t kStep = 32;                  // of k: columns of a tile of bf16
constexpr std::int64_t kBlock = 32;                 // rows and columns of C that are computed at a time: 2 x 2 tiles
constexpr std::int64_t kDepth = 512;                // of k, packed at a time
constexpr std::int64_t kParts = 3;                  // of a number
constexpr std::int64_t kTileWords = kTile * kTile;  // of 32 bits
constexpr std::int64_t kStepWords = kParts * 2 * kTileWords;  // of a block, for one step of k
constexpr std::int64_t kBlockWords = kDepth / kStep * kStepWords;

constexpr std::int64_t kPanels = 8;  // of B and 512 of k, or more panels and less of k: what the second cache holds

struct alignas(64) Workspace {
  std::uint32_t a[kBlockWords];
  std::uint32_t b[kPanels * kBlockWords];
  float turned[kTile * kStep];
  float c[kBlock * kBlock];
};

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Tiles are this thread's while it lives.
struct Tiles {
  Tiles() { _tile_loadconfig(&config); }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  TileConfig config;
};

__mmask16 first(std::int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<std::int64_t>(count, 0, 16)) - 1u);
}

__m512i bits(__m512 x) { return _mm512_castps_si512(x); }
__m512 head(__m512 x) { return _mm512_castsi512_ps(_mm512_and_si512(bits(x), _mm512_set1_epi32(int(0xffff0000u)))); }

// The heads of x and y as 16 pairs of bf16: x0 x1, x2 x3, ..., y14 y15.
__m512i in_order(__m512 x, __m512 y) {
  const __m512i odd = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25,
                                       23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  return _mm512_permutex2var_epi16(bits(x), odd, bits(y));
}

// The heads of x and y as 16 pairs of bf16: x0 y0, x1 y1, ...
__m512i side_by_side(__m512 x, __m512 y) { return _mm512_or_si512(_mm512_srli_epi32(bits(x), 16), bits(head(y))); }

// to[j][i] = from[i][j] for 16 x 16 values; what is missing is zero.
void transpose(const float* from, std::int64_t ld, std::int64_t rows, std::int64_t columns, float* to,
               std::int64_t to_ld) {
  const __mmask16 mask = first(columns);
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = i < rows ? _mm512_maskz_loadu_epi32(mask, from + i * ld) : _mm512_setzero_si512();
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 16; i += 8)
    for (int j = i; j < i + 4; ++j) {
      t[j] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0x88);
      t[j + 4] = _mm512_shuffle_i32x4(r[j], r[j + 4], 0xdd);
    }
  for (int j = 0; j < 8; ++j) {
    _mm512_store_si512(to + j * to_ld, _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88));
    _mm512_store_si512(to + (j + 8) * to_ld, _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd));
  }
}

// 16 x 32 values cut into parts: three tiles of 16 rows of 16 pairs, 2 kTileWords apart. Pairs are neighbours in a row,
// or, with `down`, in a column: then `from` has 32 rows of 16. What lies outside of (rows, columns) is zero.
template <bool down>
void cut(const float* from, std::int64_t ld, std::int64_t rows, std::int64_t columns, std::uint32_t* to) {
  for (std::int64_t i = 0; i < kTile; ++i) {
    __m512 x = _mm512_setzero_ps(), y = x;
    if (down) {
      if (2 * i < rows) x = _mm512_maskz_loadu_ps(first(columns), from + 2 * i * ld);
      if (2 * i + 1 < rows) y = _mm512_maskz_loadu_ps(first(columns), from + (2 * i + 1) * ld);
    } else if (i < rows) {
      x = _mm512_maskz_loadu_ps(first(columns), from + i * ld);
      y = _mm512_maskz_loadu_ps(first(columns - kTile), from + i * ld + kTile);
    }
    for (std::int64_t part = 0; part < kParts; ++part) {
      _mm512_store_si512(to + part * 2 * kTileWords + i * kTile, down ? side_by_side(x, y) : in_order(x, y));
      x = _mm512_sub_ps(x, head(x));
      y = _mm512_sub_ps(y, head(y));
    }
  }
}

// One tile of A (16 of m, 32 of k) in three parts. transposed: `from` is stored (k, m).
void cut_a(const float* from, std::int64_t ld, bool transposed, std::int64_t m, std::int64_t k, float* turned,
           std::uint32_t* to) {
  if (!transposed) return cut<false>(from, ld, m, k, to);
  transpose(from, ld, k, m, turned, kStep);
  transpose(from + kTile * ld, ld, k - kTile, m, turned + kTile, kStep);
  cut<false>(turned, kStep, kTile, kStep, to);
}

// One tile of B (32 of k, 16 of n) in three parts. transposed: `from` is stored (n, k).
void cut_b(const float* from, std::int64_t ld, bool transposed, std::int64_t k, std::int64_t n, float* turned,
           std::uint32_t* to) {
  if (!transposed) return cut<true>(from, ld, k, n, to);
  transpose(from, ld, n, k, turned, kTile);
  transpose(from + kTile, ld, n, k - kTile, turned + kTile * kTile, kTile);
  cut<true>(turned, kTile, kStep, kTile, to);
}

// 32 rows of A, or 32 columns of B, of `count` that are left, over `depth` of k: step by step, part by part, two tiles
// each.
template <class Cut>
void pack(const Cut& one, const float* from, std::int64_t ld, bool along_k, std::int64_t count, std::int64_t depth,
          std::uint32_t* to) {
  for (std::int64_t k = 0; k < depth; k += kStep, to += kStepWords)
    for (std::int64_t half = 0; half < 2 && half * kTile < count; ++half)
      one(from + (along_k ? half * kTile * ld + k : k * ld + half * kTile), depth - k, count - half * kTile,
          to + half * kTileWords);
}

// The six products of parts, in the order that loads the fewest tiles: tiles 0 to 3 += a b. Without `right` the block
// has 16 columns, without `low` 16 rows.
template <bool low, bool right>
void multiply(const std::uint32_t* a, const std::uint32_t* b, std::int64_t steps) {
  const auto load_a = [&](std::int64_t part) {
    _tile_loadd(4, a + part * 2 * kTileWords, 64);
    if (low) _tile_loadd(5, a + (part * 2 + 1) * kTileWords, 64);
  };
  const auto load_b = [&](std::int64_t part) {
    _tile_loadd(6, b + part * 2 * kTileWords, 64);
    if (right) _tile_loadd(7, b + (part * 2 + 1) * kTileWords, 64);
  };
  const auto add = [&] {
    _tile_dpbf16ps(0, 4, 6);
    if (right) _tile_dpbf16ps(1, 4, 7);
    if (low) _tile_dpbf16ps(2, 5, 6);
    if (low && right) _tile_dpbf16ps(3, 5, 7);
  };
  for (std::int64_t step = 0; step < steps; ++step, a += kStepWords, b += kStepWords) {
    load_a(0), load_b(1), add();
    load_a(1), add();
    load_b(0), add();
    load_a(2), add();
    load_a(0), add();
    load_b(2), add();
  }
}

void multiply(bool low, bool right, const std::uint32_t* a, const std::uint32_t* b, std::int64_t steps) {
  if (low && right) multiply<true, true>(a, b, steps);
  else if (low) multiply<true, false>(a, b, steps);
  else if (right) multiply<false, true>(a, b, steps);
  else multiply<false, false>(a, b, steps);
}

void load_sums(const float* c, std::int64_t ldc) {
  const auto bytes = static_cast<int>(ldc * 4);
  _tile_loadd(0, c, bytes);
  _tile_loadd(1, c + kTile, bytes);
  _tile_loadd(2, c + kTile * ldc, bytes);
  _tile_loadd(3, c + kTile * ldc + kTile, bytes);
}

void store_sums(float* c, std::int64_t ldc) {
  const auto bytes = static_cast<int>(ldc * 4);
  _tile_stored(0, c, bytes);
  _tile_stored(1, c + kTile, bytes);
  _tile_stored(2, c + kTile * ldc, bytes);
  _tile_stored(3, c + kTile * ldc + kTile, bytes);
}

void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

// c = alpha sums + beta c on a block of m x n.
void combine(const float* sums, std::int64_t m, std::int64_t n, float alpha, float beta, float* c, std::int64_t ldc) {
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = 0; j < n; j += kTile) {
      const __mmask16 mask = first(n - j);
      __m512 y = _mm512_mul_ps(_mm512_set1_ps(alpha), _mm512_load_ps(sums + i * kBlock + j));
      if (beta != 0.0f) y = _mm512_fmadd_ps(_mm512_set1_ps(beta), _mm512_maskz_loadu_ps(mask, c + i * ldc + j), y);
      _mm512_mask_storeu_ps(c + i * ldc + j, mask, y);
    }
}

// One block of C, of what is left of it, from packed operands.
void block(Workspace& space, const std::uint32_t* b, const GemmShape& left, float alpha, float beta, float* c,
           std::int64_t ldc) {
  const std::int64_t m = std::min(kBlock, left.m), n = std::min(kBlock, left.n);
  const bool whole = m == kBlock && n == kBlock && alpha == 1.0f && (beta == 0.0f || beta == 1.0f);
  if (whole && beta == 1.0f) load_sums(c, ldc);
  else zero_sums();
  if (whole && beta == 0.0f)  // tiles wait for each line of C that is not at hand when they are stored
    for (std::int64_t i = 0; i < kBlock; ++i) {
      __builtin_prefetch(c + i * ldc, 1);
      __builtin_prefetch(c + i * ldc + kTile, 1);
    }
  multiply(m > kTile, n > kTile, space.a, b, (left.k + kStep - 1) / kStep);
  store_sums(whole ? c : space.c, whole ? ldc : kBlock);
  if (!whole) combine(space.c, m, n, alpha, beta, c, ldc);
}

bool permitted() {
  constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

bool processor_has_tiles() {
  constexpr unsigned kTiles = 1u << 24, kBf16 = 1u << 22;
  unsigned a = 7, b = 0, c = 0, d = 0;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return (d & kTiles) != 0 && (d & kBf16) != 0 && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

bool has_amx() {
  static const bool there = processor_has_tiles() && permitted();
  return there;
}

void detail::amx_gemm(const GemmShape& s, float alpha, const float* a, std::int64_t lda, const float* b,
                      std::int64_t ldb, float beta, float* c, std::int64_t ldc) {
  thread_local const auto space = std::make_unique<Workspace>();
  const Tiles tiles;
  const auto one_a = [&](const float* from, std::int64_t k, std::int64_t m, std::uint32_t* to) {
    cut_a(from, lda, s.transpose_a, m, k, space->turned, to);
  };
  const auto one_b = [&](const float* from, std::int64_t k, std::int64_t n, std::uint32_t* to) {
    cut_b(from, ldb, s.transpose_b, k, n, space->turned, to);
  };
  for (std::int64_t at = 0; at < s.k; at += kDepth) {
    const std::int64_t depth = std::min(kDepth, s.k - at), words = (depth + kStep - 1) / kStep * kStepWords;
    const std::int64_t width = kPanels * kBlockWords / words * kBlock;
    for (std::int64_t column = 0; column < s.n; column += width) {
      const std::int64_t end = std::min(s.n, column + width);
      for (std::int64_t j = column; j < end; j += kBlock)
        pack(one_b, b + (s.transpose_b ? j * ldb + at : at * ldb + j), ldb, s.transpose_b, s.n - j, depth,
             space->b + (j - column) / kBlock * words);
      for (std::int64_t i = 0; i < s.m; i += kBlock) {
        pack(one_a, a + (s.transpose_a ? at * lda + i : i * lda + at), lda, !s.transpose_a, s.m - i, depth, space->a);
        for (std::int64_t j = column; j < end; j += kBlock)
          block(*space, space->b + (j - column) / kBlock * words, {false, false, s.m - i, s.n - j, depth}, alpha,
                at == 0 ? beta : 1.0f, c + i * ldc + j, ldc);
      }
    }
  }
}

#else

bool has_amx() { return false; }

void detail::amx_gemm(const GemmShape&, float, const float*, std::int64_t, const float*, std::int64_t, float, float*,
                      std::int64_t) {
  throw Error("gemm: this build has no AMX");
}

#endif

}  // namespace tessera
