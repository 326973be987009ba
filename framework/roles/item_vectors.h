#pragma once

#include <cstdint>
#include <span>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Where a model may read vectors of items: a head's item tower (dot_product, tcn) or the tokenizer's frozen vectors.
// Recorded on the tape where the vectors are learnt.
class TESSERA_API ItemVectorSource {
 public:
  virtual ~ItemVectorSource();
  virtual int width() const = 0;                                    // D
  virtual Tensor vectors(std::span<const std::int32_t> items) = 0;  // (n, D); -1 gives zeros
  virtual Tensor all() = 0;                                         // (I, D)
};

}  // namespace tessera
