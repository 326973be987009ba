#pragma once

#include <string>
#include <string_view>

namespace tessera::detail {

// A JSON string with its quotes.
inline std::string json_string(std::string_view text) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') (out += '\\') += c;
    else if (byte < 0x20) ((out += "\\u00") += kDigits[byte >> 4]) += kDigits[byte & 15];
    else out += c;
  }
  return out += '"';
}

}  // namespace tessera::detail
