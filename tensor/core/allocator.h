#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/core/device.h"
#include "tensor/core/export.h"

namespace tessera {

// Pooled memory, one pool a device: freed blocks are kept and handed out again, so a steady training step asks the
// system for nothing and touches pages that are already mapped. Blocks are 64-byte aligned on the CPU (256 on CUDA) and
// rounded up to a size class. Thread-safe.
struct AllocatorStats {
  std::uint64_t system_allocations = 0;  // blocks that were asked from the system (or the driver)
  std::size_t reserved = 0;              // bytes held from the system
  std::size_t in_use = 0;                // bytes handed out now
  std::size_t peak_in_use = 0;           // the most that were handed out at once
};

TESSERA_API void* allocate(std::size_t bytes, Device device);                      // never null; throws Error
TESSERA_API void release(void* block, std::size_t bytes, Device device) noexcept;  // bytes as asked for
TESSERA_API AllocatorStats allocator_stats(Device device = Device::cpu());
TESSERA_API void reset_peak(Device device = Device::cpu());
TESSERA_API void trim(Device device = Device::cpu());  // gives unused blocks back to the system

}  // namespace tessera
