#pragma once

#include <cstddef>

#include "tensor/core/device.h"

namespace tessera {

// Memory from the system or the CUDA driver; the pool of allocator.cpp stands in front of it.
void* system_allocate(std::size_t bytes, Device device);  // null when there is none left
void system_release(void* block, std::size_t bytes, Device device);

// The CPU's half. Large blocks lie on huge pages where the system has them: a kernel that walks far apart rows of a
// large tensor would otherwise spend its time on address translation.
void* host_allocate(std::size_t bytes);  // 64-byte aligned or more
void host_release(void* block);

}  // namespace tessera
