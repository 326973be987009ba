#pragma once

#include <string>

#include "framework/catalog/catalog.h"
#include "framework/data/dataset.h"

namespace tessera {

// The text of <dataset>.index.json: {"<item id>": ["<a_12>", "<b_3>", ...], ...}, the form that LETTER, LC-Rec and
// MiniOneRec read. A level's letter is its place: a, b, .., z, aa, ab, ..; an absent code is left out. Items are named
// by their original id.
TESSERA_API std::string index_json(const Items& items, const Catalog& catalog);

}  // namespace tessera
