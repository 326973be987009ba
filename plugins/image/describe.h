#pragma once

#include <cstdint>
#include <vector>

#include "plugins/image/decode.h"

namespace tessera::image {

// The kinds of numbers that a description holds, one after the other; each is brought to the same total variance.
const std::vector<std::int64_t>& description_groups();
std::int64_t description_width();

void use_one_thread();  // OpenCV starts no threads of its own from here on

// What a picture looks like, scaled to side x side pixels: README.md has the list. `out` has room for
// description_width() numbers. Thread-safe; the same bits on any thread.
void describe(const Picture& picture, int side, float* out);

}  // namespace tessera::image
