// The CPU half of storage and copies. With CUDA, tensor/cuda/memory.cu stands in its place.
#ifndef TESSERA_WITH_CUDA
#include <cstring>

#include "tensor/core/device_copy.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/system_memory.h"

namespace tessera {

bool built_with_cuda() { return false; }
int cuda_device_count() { return 0; }

void* system_allocate(std::size_t bytes, Device device) {
  require_cpu("allocate", device);
  return host_allocate(bytes);
}

void system_release(void* block, std::size_t, Device) { host_release(block); }

void device_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes) {
  require_cpu("copy", to_device);
  require_cpu("copy", from_device);
  if (bytes > 0) std::memcpy(to, from, bytes);
}

void device_zero(void* data, std::size_t bytes, Device device) {
  require_cpu("zero", device);
  if (bytes > 0) std::memset(data, 0, bytes);
}

}  // namespace tessera
#endif
