#pragma once

#include <cstddef>

#include "tensor/core/device.h"

namespace tessera {

// Bytes on and across devices. What the host gives or takes is done on return; within a device the stream's order
// holds.
void device_copy(void* to, Device to_device, const void* from, Device from_device, std::size_t bytes);
void device_zero(void* data, std::size_t bytes, Device device);

}  // namespace tessera
