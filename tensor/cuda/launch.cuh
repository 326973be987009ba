#pragma once

#include <algorithm>
#include <cstdint>

#include "tensor/cuda/stream.cuh"

namespace tessera::cuda {

// How kernels are launched: one thread an element, or one warp a row. Bodies are __device__ lambdas; they stand in
// named function templates, not in generic lambdas, as nvcc asks.
inline constexpr int kThreads = 256, kWarp = 32, kRowsABlock = 4;

template <class F>
__global__ void element_kernel(std::int64_t n, F f) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) f(i);
}

// f(i) for i in 0 .. n - 1
template <class F>
void for_each(Device device, std::int64_t n, F f) {
  if (n == 0) return;
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>((n + kThreads - 1) / kThreads, 1 << 20));
  element_kernel<<<blocks, kThreads, 0, stream_on(device)>>>(n, f);
  check_cuda(cudaGetLastError(), "launch");
}

template <class F>
__global__ void row_kernel(std::int64_t rows, F f) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kRowsABlock + threadIdx.x / kWarp;
  if (row < rows) f(row, static_cast<int>(threadIdx.x % kWarp));  // whole warps go or stay, so shuffles are safe
}

// f(row, lane): the 32 lanes of a warp share a row, each takes columns lane, lane + 32, ...
template <class F>
void for_rows(Device device, std::int64_t rows, F f) {
  if (rows == 0) return;
  const auto blocks = static_cast<unsigned>((rows + kRowsABlock - 1) / kRowsABlock);
  row_kernel<<<blocks, kRowsABlock * kWarp, 0, stream_on(device)>>>(rows, f);
  check_cuda(cudaGetLastError(), "launch");
}

// The sum or the largest of a warp's values, the same bits in every lane: a butterfly adds equal pairs on both sides.
template <class T>
__device__ T warp_sum(T x) {
  for (int step = kWarp / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}
template <class T>
__device__ T warp_max(T x) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, x, step);
    x = other > x ? other : x;
  }
  return x;
}

}  // namespace tessera::cuda
