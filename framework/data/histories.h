#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

// Users' pasts, jagged, oldest first. Row b is items[offset[b] .. offset[b + 1]).
struct Histories {
  std::vector<std::int32_t> user;       // (B) internal user number, -1 for somebody unknown
  std::vector<std::int64_t> offset{0};  // (B + 1)
  std::vector<std::int32_t> item;       // (N)
  std::vector<std::int64_t> time;       // (N) or empty
  std::vector<std::int8_t> action;      // (N) or empty
  std::int64_t rows() const { return static_cast<std::int64_t>(offset.size()) - 1; }
  std::int64_t size() const { return static_cast<std::int64_t>(item.size()); }
};

// What one optimiser step sees. The model's spec decides the cut (BatchForm):
// every_position: target (N), target[i] follows item[i]; -1 where there is none.
// each_item:      target (N) is item[i] itself, with its label (a state of an item does not know its own label).
// one_target:     target (B), histories hold what came before it (or nothing, for models that read the graph).
struct TrainBatch {
  Histories histories;
  std::vector<std::int32_t> target;
  std::vector<std::int64_t> time;  // as long as target, when it happened (seconds); empty where the data has no times
  std::vector<float> label;        // as long as target, 0 or 1, for click heads; or empty
  // (targets, n) row by row: n items that stand in for "not chosen" by the target's user, -1 where there is no target;
  // or empty. Model and head read the same ones (ModelSpec::negatives, HeadSpec::negatives).
  std::vector<std::int32_t> negative;
  std::int64_t step = 0;  // number of the optimiser step, for negatives and other draws
};

enum class BatchForm {
  every_position,                // causal: s_0 .. s_(n-1) in, s_1 .. s_n out
  every_position_last_included,  // the same, and s_n stands at the end of the input without a target (flattened tokens)
  each_item,                     // causal: s_0 .. s_n in, each one its own target
  one_target,                    // bidirectional and graph models: samples of (history, target)
};

}  // namespace tessera
