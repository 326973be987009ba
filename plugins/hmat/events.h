#pragma once

#include <limits>

#include "plugins/hmat/hmat.h"

namespace tessera {

struct Hmat::Events {
  static constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::min();
  static constexpr std::int8_t kNoAction = -1;
  std::vector<std::int32_t> item;       // (N)
  std::vector<std::int8_t> action;      // (N)
  std::vector<std::int64_t> time;       // (N)
  std::vector<std::int64_t> offset{0};  // (B + 1)

  std::int64_t rows() const { return static_cast<std::int64_t>(offset.size()) - 1; }
  void add(const Events& from, std::int64_t begin, std::int64_t end) {
    item.insert(item.end(), from.item.begin() + begin, from.item.begin() + end);
    action.insert(action.end(), from.action.begin() + begin, from.action.begin() + end);
    time.insert(time.end(), from.time.begin() + begin, from.time.begin() + end);
  }
  void end_row() { offset.push_back(static_cast<std::int64_t>(item.size())); }
};

// What continues a memory: what later blocks see of each layer, and the events, which are read again when the oldest
// fall out.
struct Hmat::Cache final : Memory::Cache {
  std::vector<Tensor> past;  // each layer (N*F, 2*H*Dk)
  Events events;
};

}  // namespace tessera
