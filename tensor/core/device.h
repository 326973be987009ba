#pragma once

#include <string>

#include "tensor/core/export.h"

namespace tessera {

// Where a tensor's bytes live.
struct TESSERA_API Device {
  enum class Kind : unsigned char { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index = 0) { return {Kind::cuda, index}; }
  static Device parse(const std::string& text);  // "cpu", "cuda", "cuda:1"; throws Error

  bool is_cpu() const { return kind == Kind::cpu; }
  bool is_cuda() const { return kind == Kind::cuda; }
  std::string text() const;  // "cpu", "cuda:0"
  bool operator==(const Device&) const = default;
};

TESSERA_API bool built_with_cuda();
TESSERA_API int cuda_device_count();  // 0 in a build without CUDA and on a machine without a device

}  // namespace tessera
