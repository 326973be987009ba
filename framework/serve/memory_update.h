#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "framework/data/rejects.h"
#include "framework/pipeline/pipeline.h"
#include "framework/serve/user_memory.h"
#include "tensor/core/export.h"

// From a trained model to a user memory and on: what `tessera memory` does.
namespace tessera {

// A hash of everything that a stored row depends on: weights, catalogue, options of model and head. 16 digits.
TESSERA_API std::string model_hash(const Pipeline& pipeline);
TESSERA_API MemoryFacts facts_of(const Pipeline& pipeline, const std::string& run);
// Throws Error, naming the neighbour and what it lacks, where rows of this model cannot be stored or its head cannot
// answer from them.
TESSERA_API void require_storable(const Pipeline& pipeline);

struct BuildReport {
  std::int64_t users = 0;
  std::uint64_t row_bytes = 0;  // of all rows together
};
// Writes a row for each user of the data, from all events known of it; then finish().
TESSERA_API BuildReport build_memory(Model& model, const Dataset& data, UserMemory& memory, FitContext& context);

struct AppendReport {
  std::uint64_t events = 0, users = 0, new_users = 0;
  std::uint64_t lines_before = 0;  // that an earlier append of this file had read
};
// Reads an event file (memory_events.h) into the memory, `batch` events a write. Nothing is written where a line is bad
// (but with rejects.skip_bad()). acknowledge(line) is called once all events up to this line are on the disk; a file
// that was appended before, in part or whole, or that has grown since, goes on behind the last acknowledged line.
// context.stop ends it between two writes with Stopped.
TESSERA_API AppendReport append_events(Model& model, const Dataset& data, UserMemory& memory, const std::string& path,
                                       std::int64_t batch, Rejects& rejects, FitContext& context,
                                       const std::function<void(std::uint64_t line)>& acknowledge);

// Rows put together for a head: what rank_memory() and score_memory() take. Throws MemoryError where a user has no row.
struct Recalled {
  Memory memory;
  std::vector<std::int64_t> offset{0};  // (B + 1) of items: what each user has
  std::vector<std::int32_t> items;
};
TESSERA_API Recalled recall(Model& model, const UserMemory& memory, std::span<const std::string> users);

}  // namespace tessera
