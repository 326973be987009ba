#pragma once

#include <cstdint>
#include <vector>

#include "framework/data/histories.h"
#include "framework/roles/model.h"

namespace tessera {

// Which state of a memory predicts which item: pairs in the order of the batch. What heads train on. An empty row: the
// summaries predict, one a history. place: of the target in the batch.
struct Targets {
  std::vector<std::int32_t> row, item, place;
};

// Of an every_position batch: each position that has a target and a state. row is the state's row in memory.states.
TESSERA_API Targets every_target(const Memory& memory, const TrainBatch& batch);

}  // namespace tessera
