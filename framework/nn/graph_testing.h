#pragma once

#include <cstdint>

#include "framework/data/dataset.h"
#include "tensor/core/random.h"

namespace tessera::testing {

// A random training part in which user 4 and the last item have no neighbours; item i is taken with probability
// slope (i + 1).
inline Dataset graph_world(std::int64_t users, std::int64_t items, double slope) {
  Dataset data;
  data.name = "world";
  Random random(5, 1);
  data.items.ids.resize(static_cast<std::size_t>(items));
  data.user_ids.resize(static_cast<std::size_t>(users));
  for (std::int64_t u = 0; u < users; ++u) {
    for (std::int32_t i = 0; i < items - 1; ++i)
      if (u != 4 && random.uniform() < slope * (i + 1)) data.interactions.item.push_back(i);
    data.interactions.offset.push_back(data.interactions.size());
  }
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
  return data;
}

}  // namespace tessera::testing
