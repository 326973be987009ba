// Storage and copies in a build with CUDA; tensor/core/host_only.cpp stands in its place without.
#include <cstring>

#include "tensor/core/device_copy.h"
#include "tensor/core/system_memory.h"
#include "tensor/cuda/stream.cuh"

namespace tessera {

using cuda::check_cuda;
using cuda::stream_on;

bool built_with_cuda() { return true; }

int cuda_device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // a machine without a driver: forget the error, there is nothing to use
  return 0;
}

void* system_allocate(std::size_t bytes, Device device) {
  if (device.is_cpu()) return host_allocate(bytes);
  stream_on(device);
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the caller frees what it holds and asks again
    return nullptr;
  }
  check_cuda(status, "allocate");
  return block;
}

void system_release(void* block, std::size_t, Device device) {
  if (device.is_cpu()) {
    host_release(block);
    return;
  }
  cudaSetDevice(device.index);
  cudaFree(block);  // waits for the device; at the end of the process it may be gone already, which is no error
}

void device_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes) {
  if (bytes == 0) return;
  if (to_device.is_cpu() && from_device.is_cpu()) {
    std::memcpy(to, from, bytes);
    return;
  }
  const bool across = to_device.is_cuda() && from_device.is_cuda() && to_device.index != from_device.index;
  const cudaStream_t stream = stream_on(from_device.is_cuda() ? from_device : to_device);
  if (across)
    check_cuda(cudaMemcpyPeerAsync(to, to_device.index, from, from_device.index, bytes, stream),
               "copy between devices");
  else check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream), "copy");
  // On one device the stream's order suffices.
  if (across || to_device.is_cpu() || from_device.is_cpu()) check_cuda(cudaStreamSynchronize(stream), "copy");
}

void device_zero(void* data, std::size_t bytes, Device device) {
  if (bytes == 0) return;
  if (device.is_cpu()) std::memset(data, 0, bytes);
  else check_cuda(cudaMemsetAsync(data, 0, bytes, stream_on(device)), "zero");
}

}  // namespace tessera
