#pragma once

#include <cstdint>
#include <string>

#include "framework/data/dataset.h"
#include "framework/data/split.h"

// What the tests of this room share.
namespace tessera::testing {

// User u has 3 + u % 20 items; item j of user u is 100 u + j, so a batch tells where each number came from.
inline Dataset world(std::int64_t users = 57) {
  Dataset data;
  data.name = "world";
  for (std::int64_t i = 0; i < users * 100; ++i) data.items.ids.push_back("i" + std::to_string(i));
  for (std::int64_t u = 0; u < users; ++u) {
    data.user_ids.push_back("u" + std::to_string(u));
    for (std::int64_t j = 0; j < 3 + u % 20; ++j) {
      data.interactions.item.push_back(static_cast<std::int32_t>(100 * u + j));
      data.interactions.time.push_back(1000 * j + u);
      data.interactions.label.push_back(static_cast<std::int8_t>(j % 2));
    }
    data.interactions.offset.push_back(data.interactions.size());
  }
  return data;
}

inline Dataset leave_one_out() {
  Dataset data = world();
  split(data, {}, 1);
  return data;
}

}  // namespace tessera::testing
