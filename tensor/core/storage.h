#pragma once

#include <cstddef>

#include "tensor/core/device.h"
#include "tensor/core/export.h"

namespace tessera {

// A block of pooled memory with one owner; tensors share it through a shared_ptr. Not initialised.
class TESSERA_API Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void* data_;
  std::size_t bytes_;
  Device device_;
};

}  // namespace tessera
