#pragma once

#include <string>

#include "plugins/synthetic/world.h"

namespace tessera::synthetic {

// The picture of an item as a square PNG: the colour follows the category's top and, a little, the style; the shape
// follows the thing and variant; the texture of the ground follows the style; place and size are the item's own. Throws
// Error where the disk refuses.
void write_picture(const World& world, std::int32_t item, int size, const std::string& path);

}  // namespace tessera::synthetic
