#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"
#include "tensor/cuda/launch.cuh"

namespace tessera::cuda {

// Deterministic sums: tiles of fixed size, a fixed tree in a tile, tiles in a fixed order; all in f64.
inline constexpr std::int64_t kSumTile = 8192;  // elements a block

// The block's sum of x in thread 0, by halves.
__device__ inline double block_sum(double x) {
  __shared__ double lane[kThreads];
  lane[threadIdx.x] = x;
  __syncthreads();
  for (unsigned width = kThreads / 2; width > 0; width /= 2) {
    if (threadIdx.x < width) lane[threadIdx.x] += lane[threadIdx.x + width];
    __syncthreads();
  }
  return lane[0];
}

template <class F>
__global__ void tile_sum_kernel(std::int64_t n, F f, double* part) {
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kSumTile;
  const std::int64_t end = begin + kSumTile < n ? begin + kSumTile : n;
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += f(i);
  sum = block_sum(sum);
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

template <class T>
__global__ void last_sum_kernel(std::int64_t parts, const double* part, double factor, T* out) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < parts; i += kThreads) sum += part[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) out[0] = static_cast<T>(factor * sum);
}

inline std::int64_t sum_tiles(std::int64_t n) { return (n + kSumTile - 1) / kSumTile; }

// part[tile] = sum of f(i) over the tile's elements; sum_tiles(n) numbers.
template <class F>
void sum_each_tile(Device device, std::int64_t n, F f, double* part) {
  if (n == 0) return;
  tile_sum_kernel<<<static_cast<unsigned>(sum_tiles(n)), kThreads, 0, stream_on(device)>>>(n, f, part);
  check_cuda(cudaGetLastError(), "launch");
}

// out[0] = factor times the sum of the parts.
template <class T>
void sum_parts(Device device, std::int64_t parts, const double* part, double factor, T* out) {
  last_sum_kernel<<<1, kThreads, 0, stream_on(device)>>>(parts, part, factor, out);
  check_cuda(cudaGetLastError(), "launch");
}

// out[0] = factor sum_i f(i), i in 0 .. n - 1
template <class T, class F>
void sum_of(Device device, std::int64_t n, F f, double factor, T* out) {
  const Tensor part({sum_tiles(n)}, DType::f64, device);
  sum_each_tile(device, n, f, part.data<double>());
  sum_parts(device, sum_tiles(n), part.data<double>(), factor, out);
}

inline constexpr int kColumnLanes = 8;

// part (tiles, columns): a block takes 32 columns of `grain` rows, eight threads a column.
template <class F>
__global__ void column_tile_kernel(std::int64_t rows, std::int64_t columns, std::int64_t grain, F f, double* part) {
  __shared__ double lane[kColumnLanes][kWarp];
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kWarp + threadIdx.x;
  const std::int64_t begin = blockIdx.y * grain, end = begin + grain < rows ? begin + grain : rows;
  double sum = 0;
  if (column < columns)
    for (std::int64_t row = begin + threadIdx.y; row < end; row += kColumnLanes) sum += f(row, column);
  lane[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
  for (int i = 1; i < kColumnLanes; ++i) sum += lane[i][threadIdx.x];
  part[blockIdx.y * columns + column] = sum;
}

template <class T>
__global__ void column_last_kernel(std::int64_t tiles, std::int64_t columns, const double* part, T* out) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  double sum = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) sum += part[tile * columns + column];
  out[column] = static_cast<T>(sum);
}

// out[c] = sum over rows of f(row, c)
template <class T, class F>
void column_sums(Device device, std::int64_t rows, std::int64_t columns, F f, T* out) {
  if (columns == 0) return;
  const std::int64_t grain = std::max<std::int64_t>(64, (rows + 63) / 64), tiles = (rows + grain - 1) / grain;
  const Tensor part({tiles, columns}, DType::f64, device);
  const cudaStream_t stream = stream_on(device);
  if (tiles > 0) {
    const dim3 grid(static_cast<unsigned>((columns + kWarp - 1) / kWarp), static_cast<unsigned>(tiles));
    column_tile_kernel<<<grid, dim3(kWarp, kColumnLanes), 0, stream>>>(rows, columns, grain, f, part.data<double>());
    check_cuda(cudaGetLastError(), "launch");
  }
  const auto blocks = static_cast<unsigned>((columns + kThreads - 1) / kThreads);
  column_last_kernel<<<blocks, kThreads, 0, stream>>>(tiles, columns, part.data<double>(), out);
  check_cuda(cudaGetLastError(), "launch");
}

// A list of the host, on the device.
template <class T>
Tensor upload(std::span<const T> values, Device device) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}).to(device);
}

}  // namespace tessera::cuda
