#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// Items in the order of their codes, compared level by level, -1 first; items with the same codes in item order.
// codes: (I, L), each -1 or more. Linear in I and in the largest code (a counting sort a level).
TESSERA_API std::vector<std::int32_t> order_by_codes(std::span<const std::int32_t> codes, int levels);

// For each place of that order, how many leading levels the item shares with the item before it (0 for the first).
TESSERA_API std::vector<std::int32_t> shared_prefixes(std::span<const std::int32_t> codes, int levels,
                                                      std::span<const std::int32_t> order);

// "(12, 3, 250)"
TESSERA_API std::string text_of_codes(std::span<const std::int32_t> codes);

}  // namespace tessera
