#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera {

// The JSON text of a Python literal as the metadata of 2014 has it: 'texts' in either quote, True, False, None. Nothing
// where a text does not end.
inline std::optional<std::string> json_of_python(std::string_view line) {
  std::string out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char quote = line[i];
    if (quote != '\'' && quote != '"') {
      const auto starts = [&](std::string_view word) { return line.substr(i, word.size()) == word; };
      if (starts("True")) out += "true", i += 3;
      else if (starts("False")) out += "false", i += 4;
      else if (starts("None")) out += "null", i += 3;
      else out += quote;
      continue;
    }
    out += '"';
    for (++i; i < line.size() && line[i] != quote; ++i) {
      constexpr std::string_view kHex = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(line[i]);
      if (byte == '\\' && i + 1 < line.size()) {
        const char escaped = line[++i];
        if (escaped == '\'') out += '\'';
        else if (escaped == 'x') out += "\\u00";  // its two digits follow
        else (out += '\\') += escaped;
      } else if (byte == '"') {
        out += "\\\"";
      } else if (byte < 0x20) {
        ((out += "\\u00") += kHex[byte >> 4]) += kHex[byte & 15];
      } else {
        out += line[i];
      }
    }
    if (i >= line.size()) return std::nullopt;
    out += '"';
  }
  return out;
}

}  // namespace tessera
