#pragma once

#include <string>

#include "plugins/synthetic/world.h"

namespace tessera::synthetic {

struct ItemText {
  std::string title, category, brand, description;
};

// The words of an item: a pure function of (seed, item).
ItemText describe(const World& world, std::int32_t item);

}  // namespace tessera::synthetic
