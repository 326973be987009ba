#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/catalog/trie.h"
#include "framework/data/dataset.h"
#include "tensor/core/export.h"

namespace tessera {

// Which items may be answered, (I) of 0 and 1: what RankRequest::allowed takes. Free functions without state.
using ItemMask = std::vector<std::uint8_t>;

// Items whose raw field has exactly this value. Throws Error, with the fields that exist, where the field is unknown,
// and where no item has the value.
TESSERA_API ItemMask items_with(const Items& items, const std::string& field, const std::string& value);

// Items of a file of original ids, one a line; spaces around an id and empty lines are skipped. Throws DataError with
// the first ten ids that are not in the catalogue and a count of the rest.
TESSERA_API ItemMask items_of_file(const Items& items, const std::string& path);

// Both filters at once: mask = mask and other. An empty `other` allows all. Throws Error where the sizes differ.
TESSERA_API void restrict_mask(ItemMask& mask, std::span<const std::uint8_t> other);

// (nodes) 1 where at least one allowed item continues from the node: a search that steps on these alone never ends in a
// dead end. allowed: (I), or empty for all.
TESSERA_API std::vector<std::uint8_t> open_nodes(const Trie& trie, std::span<const std::uint8_t> allowed);

}  // namespace tessera
