#include "tensor/core/dispatch.h"
#include "tensor/cuda/launch.cuh"
#include "tensor/ops/dropout/dropout.h"

namespace tessera::cuda {
namespace {

struct Words {
  std::uint32_t word[4];
};

// philox4x32-10 of tensor/core/random.h.
__device__ Words philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter), c1 = static_cast<std::uint32_t>(counter >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const std::uint32_t n0 = __umulhi(0xCD9E8D57u, c2) ^ c1 ^ k0, n2 = __umulhi(0xD2511F53u, c0) ^ c3 ^ k1;
    c1 = 0xCD9E8D57u * c2;
    c3 = 0xD2511F53u * c0;
    c0 = n0;
    c2 = n2;
  }
  return {{c0, c1, c2, c3}};
}

// One philox block a thread: it decides elements 128 chunk + 32 word + 2 b and the one after, for words 0 .. 3.
template <class T>
void apply(Device device, std::int64_t n, const T* x, const T* residual, DropoutKey key, T factor, T* y) {
  for_each(device, (n + 127) / 128 * 16, [=] __device__(std::int64_t block) {
    Words random{};
    if (key.threshold != 0) random = philox(key.seed, key.stream, static_cast<std::uint64_t>(block));
    for (int j = 0; j < 8; ++j) {
      const std::int64_t i = block / 16 * 128 + j / 2 * 32 + block % 16 * 2 + j % 2;
      if (i >= n) continue;
      const std::uint32_t u = j % 2 == 0 ? random.word[j / 2] & 0xffffu : random.word[j / 2] >> 16;
      const T kept = u >= key.threshold ? x[i] * factor : T(0);
      y[i] = residual ? residual[i] + kept : kept;
    }
  });
}

}  // namespace

void dropout(const Tensor& x, const Tensor* residual, const DropoutKey& key, Tensor& y) {
  dispatch_float("dropout", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T factor = static_cast<T>(65536.0 / (65536.0 - key.threshold));
    apply<T>(x.device(), x.numel(), x.data<T>(), residual ? residual->data<T>() : nullptr, key, factor, y.data<T>());
  });
}

}  // namespace tessera::cuda
