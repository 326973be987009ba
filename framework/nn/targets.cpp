#include "framework/nn/targets.h"

namespace tessera {

Targets every_target(const Memory& memory, const TrainBatch& batch) {
  Targets targets;
  for (std::size_t i = 0; i < batch.target.size(); ++i) {
    const std::int32_t row = memory.item_row.empty() ? static_cast<std::int32_t>(i) : memory.item_row[i];
    if (batch.target[i] < 0 || row < 0) continue;
    targets.row.push_back(row);
    targets.item.push_back(batch.target[i]);
    targets.place.push_back(static_cast<std::int32_t>(i));
  }
  return targets;
}

}  // namespace tessera
