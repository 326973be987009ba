#include <algorithm>
#include <bit>
#include <cstring>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/dropout/dropout.h"

namespace tessera::cpu {
namespace {

constexpr int kBlocks = 16;              // philox blocks at once: the loops over them become vector instructions
constexpr int kChunk = kBlocks * 4 * 2;  // decisions of 16 bits
static_assert(kChunk == kDropoutChunk);

// The decisions of one chunk: philox4x32-10 of tensor/core/random.h for counters 16 chunk .. 16 chunk + 15. Words lie
// in 64 bits, so that a product is one vector instruction and its halves are a shift and a mask.
void random_chunk(const DropoutKey& key, std::uint64_t chunk, std::uint16_t* out) {
  static_assert(std::endian::native == std::endian::little, "a word's low half comes first");
  constexpr std::uint64_t kLow = 0xffffffffu;
  std::uint64_t k0[10], k1[10];
  for (std::uint64_t round = 0; round < 10; ++round) {
    k0[round] = (key.seed + round * 0x9E3779B9u) & kLow;
    k1[round] = ((key.seed >> 32) + round * 0xBB67AE85u) & kLow;
  }
  std::uint32_t words[4][kBlocks];
  for (std::uint64_t b = 0; b < kBlocks; ++b) {
    const std::uint64_t counter = chunk * kBlocks + b;
    std::uint64_t c0 = counter & kLow, c1 = counter >> 32, c2 = key.stream & kLow, c3 = key.stream >> 32;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t x = 0xD2511F53u * c0, y = 0xCD9E8D57u * c2;
      c0 = (y >> 32) ^ c1 ^ k0[round];
      c2 = (x >> 32) ^ c3 ^ k1[round];
      c1 = y & kLow;
      c3 = x & kLow;
    }
    words[0][b] = static_cast<std::uint32_t>(c0);
    words[1][b] = static_cast<std::uint32_t>(c1);
    words[2][b] = static_cast<std::uint32_t>(c2);
    words[3][b] = static_cast<std::uint32_t>(c3);
  }
  std::memcpy(out, words, sizeof words);
}

template <class T>
void apply(const T* x, const T* residual, const std::uint16_t* random, std::uint32_t threshold, T factor,
           std::int64_t n, T* y) {
  if (residual)
    for (std::int64_t i = 0; i < n; ++i) y[i] = residual[i] + (random[i] >= threshold ? x[i] * factor : T{0});
  else
    for (std::int64_t i = 0; i < n; ++i) y[i] = random[i] >= threshold ? x[i] * factor : T{0};
}

// y = base + mask x / keep on elements begin .. end - 1; no base: none is added.
template <class T>
void drop(const DropoutKey& key, std::int64_t begin, std::int64_t end, const T* x, const T* base, T* y) {
  const T factor = static_cast<T>(65536.0 / (65536.0 - key.threshold));
  std::uint16_t random[kChunk] = {};
  for (std::int64_t i = begin; i < end; i += kChunk) {
    if (key.threshold != 0) random_chunk(key, static_cast<std::uint64_t>(i / kChunk), random);
    const std::int64_t n = std::min<std::int64_t>(kChunk, end - i);
    const T* part = base ? base + i : nullptr;
    if (n == kChunk) apply(x + i, part, random, key.threshold, factor, kChunk, y + i);
    else apply(x + i, part, random, key.threshold, factor, n, y + i);
  }
}

}  // namespace

void dropout_range(const DropoutKey& key, std::int64_t begin, std::int64_t end, const float* x, float* y) {
  drop<float>(key, begin, end, x, nullptr, y);
}
void dropout_range(const DropoutKey& key, std::int64_t begin, std::int64_t end, const double* x, double* y) {
  drop<double>(key, begin, end, x, nullptr, y);
}

void dropout(const Tensor& x, const Tensor* residual, const DropoutKey& key, Tensor& y) {
  dispatch_float("dropout", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* from = x.data<T>();
    const T* base = residual ? residual->data<T>() : nullptr;
    T* to = y.data<T>();
    parallel_rows(x.numel(), 128 * kChunk,
                  [&](std::int64_t begin, std::int64_t end) { drop<T>(key, begin, end, from, base, to); });
  });
}

}  // namespace tessera::cpu
