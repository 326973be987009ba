#pragma once

#include "tensor/core/device.h"
#include "tensor/core/dtype.h"
#include "tensor/core/error.h"

namespace tessera {

// Throws "softmax: tensor is on cuda:0, but this build has no CUDA (preset 'cuda')" unless the device is the CPU.
TESSERA_API void require_cpu(const char* op, Device device);
// For ops whose CUDA kernel is not written: the same with its own reason.
TESSERA_API void require_cpu_kernel(const char* op, Device device);

// dispatch_float("softmax", x.dtype(), [&](auto type) { using T = decltype(type); ... }): T is float or double.
template <class F>
decltype(auto) dispatch_float(const char* op, DType dtype, F&& f) {
  if (dtype == DType::f32) return f(float{});
  if (dtype == DType::f64) return f(double{});
  throw Error(str(op, ": type ", name_of(dtype), ", expected f32 or f64"));
}

template <class F>
decltype(auto) dispatch_any(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::bf16: return f(bf16{});
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::u8: return f(std::uint8_t{});
  }
  throw Error("dispatch: unknown type");
}

}  // namespace tessera

// TESSERA_ON_DEVICE("softmax", x.device(), softmax_forward(x, y)) calls cpu::softmax_forward or cuda::softmax_forward.
// The one place where a build without CUDA differs.
#ifdef TESSERA_WITH_CUDA
#define TESSERA_ON_DEVICE(op, where, call) \
  do {                                     \
    if ((where).is_cuda()) {               \
      ::tessera::cuda::call;               \
    } else {                               \
      ::tessera::cpu::call;                \
    }                                      \
  } while (false)
#else
#define TESSERA_ON_DEVICE(op, where, call) \
  do {                                     \
    ::tessera::require_cpu(op, where);     \
    ::tessera::cpu::call;                  \
  } while (false)
#endif
