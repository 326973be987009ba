#pragma once

#include <string>

#include "tensor/core/export.h"

namespace tessera {

// Writing JSON needs two functions; reading is simdjson's.
TESSERA_API std::string json_text(const std::string& text);  // quoted and escaped
TESSERA_API std::string json_number(
    double value);  // shortest text that reads back as the same f64; NaN and infinities: null

}  // namespace tessera
