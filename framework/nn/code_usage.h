#pragma once

#include <cstdint>
#include <vector>

#include "framework/nn/residual_quantizer.h"

namespace tessera {

// How many batches ago each code of a residual quantiser was last taken: what `revive` needs where the patience is
// counted in batches, not in epochs.
class TESSERA_API CodeUsage {
 public:
  explicit CodeUsage(const QuantizerOptions& options);
  void count(const ResidualQuantizer::Output& output);  // one batch
  // (L K) for ResidualQuantizer::revive: 0 where nothing took the code in the last `patience` batches, else 1.
  std::vector<std::int64_t> alive(std::int64_t patience) const;
  void taken(const std::vector<std::int64_t>& rows);  // codes l K + k that were revived: their time starts again

 private:
  std::int64_t codes_;
  std::vector<std::int64_t> idle_;  // (L K) batches
};

}  // namespace tessera
