#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/accumulate/accumulate.h"

namespace tessera::cpu {

void accumulate(Tensor& y, const Tensor& x) {
  dispatch_float("accumulate", y.dtype(), [&](auto type) {
    using T = decltype(type);
    T* to = y.data<T>();
    const T* from = x.data<T>();
    parallel_rows(y.numel(), 32768, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    });
  });
}

}  // namespace tessera::cpu
