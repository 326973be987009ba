#include <algorithm>
#include <cstring>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/dropout/dropout.h"

namespace tessera::cpu {
namespace {

constexpr int kBlocks = 16;             // philox blocks at once: the loops over them become vector instructions
constexpr int kChunk = kBlocks * 4 * 2;  // decisions of 16 bits

// The decisions of one chunk: philox4x32-10 of tensor/core/random.h for counters 16 chunk .. 16 chunk + 15.
void random_chunk(const DropoutKey& key, std::uint64_t chunk, std::uint16_t* out) {
  using Word = std::uint32_t;
  Word c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
  for (int b = 0; b < kBlocks; ++b) {
    const std::uint64_t counter = chunk * kBlocks + static_cast<std::uint64_t>(b);
    c0[b] = static_cast<Word>(counter);
    c1[b] = static_cast<Word>(counter >> 32);
    c2[b] = static_cast<Word>(key.stream);
    c3[b] = static_cast<Word>(key.stream >> 32);
  }
  Word k0 = static_cast<Word>(key.seed), k1 = static_cast<Word>(key.seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    for (int b = 0; b < kBlocks; ++b) {
      const std::uint64_t x = std::uint64_t{0xD2511F53u} * c0[b], y = std::uint64_t{0xCD9E8D57u} * c2[b];
      c0[b] = static_cast<Word>(y >> 32) ^ c1[b] ^ k0;
      c2[b] = static_cast<Word>(x >> 32) ^ c3[b] ^ k1;
      c1[b] = static_cast<Word>(y);
      c3[b] = static_cast<Word>(x);
    }
  }
  const Word* words[] = {c0, c1, c2, c3};
  for (int w = 0; w < 4; ++w)
    for (int b = 0; b < kBlocks; ++b) {
      out[w * 32 + 2 * b] = static_cast<std::uint16_t>(words[w][b]);
      out[w * 32 + 2 * b + 1] = static_cast<std::uint16_t>(words[w][b] >> 16);
    }
}

template <class T>
void apply(const T* x, const T* residual, const std::uint16_t* random, std::uint32_t threshold, T factor, std::int64_t n, T* y) {
  if (residual)
    for (std::int64_t i = 0; i < n; ++i) y[i] = residual[i] + (random[i] >= threshold ? x[i] * factor : T{0});
  else
    for (std::int64_t i = 0; i < n; ++i) y[i] = random[i] >= threshold ? x[i] * factor : T{0};
}

}  // namespace

void dropout(const Tensor& x, const Tensor* residual, const DropoutKey& key, Tensor& y) {
  dispatch_float("dropout", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* from = x.data<T>();
    const T* base = residual ? residual->data<T>() : nullptr;
    T* to = y.data<T>();
    const T factor = static_cast<T>(65536.0 / (65536.0 - key.threshold));
    parallel_rows(x.numel(), 128 * kChunk, [&](std::int64_t begin, std::int64_t end) {
      std::uint16_t random[kChunk] = {};
      for (std::int64_t i = begin; i < end; i += kChunk) {
        if (key.threshold != 0) random_chunk(key, static_cast<std::uint64_t>(i / kChunk), random);
        const std::int64_t n = std::min<std::int64_t>(kChunk, end - i);
        const T* part = base ? base + i : nullptr;
        if (n == kChunk)
          apply(from + i, part, random, key.threshold, factor, kChunk, to + i);
        else
          apply(from + i, part, random, key.threshold, factor, n, to + i);
      }
    });
  });
}

}  // namespace tessera::cpu
