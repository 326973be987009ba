#pragma once

#include <cstddef>

#include "tensor/core/device.h"

namespace tessera {

// Memory from the system or the CUDA driver; the pool of allocator.cpp stands in front of it.
void* system_allocate(std::size_t bytes, Device device);  // null when there is none left
void system_release(void* block, std::size_t bytes, Device device);

}  // namespace tessera
