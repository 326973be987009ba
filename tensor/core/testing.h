#pragma once

#include <cstring>
#include <functional>
#include <string>

#include "tensor/core/error.h"
#include "tensor/core/parallel.h"
#include "tensor/core/tensor.h"

namespace tessera {

// For tests: true where f() gives the same bytes with 1, 2 and 3 threads. The thread count is put back.
inline bool same_bits(const std::function<Tensor()>& f) {
  const int before = threads();
  bool same = true;
  Tensor first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    const Tensor y = f();
    if (!first) first = y;
    else same = same && y.bytes() == first.bytes() && std::memcmp(y.raw(), first.raw(), y.bytes()) == 0;
  }
  set_threads(before);
  return same;
}

// For tests: the text of the Error that f() throws.
inline std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace tessera
