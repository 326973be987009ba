#pragma once

#include <cstdint>
#include <span>

#include "framework/nn/module.h"

namespace tessera {

// A table of vectors (rows, width), looked up by number; -1 gives zeros.
class TESSERA_API Embedding : public Module {
 public:
  Embedding(std::int64_t rows, std::int64_t width, Initializer table);
  ~Embedding() override;
  Tensor operator()(std::span<const std::int32_t> ids);                            // (n) -> (n, width)
  Tensor sum(std::span<const std::int32_t> ids, int levels, double factor = 1.0);  // (n, levels) -> (n, width)
  Tensor all() { return table_(); }                                                // (rows, width)

 private:
  Parameter& table_;
};

}  // namespace tessera
