#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/data/rejects.h"
#include "framework/data/text.h"
#include "tensor/core/export.h"

// JSON as data sources need it: small values that are read once. Parsed by simdjson, which stays behind this header.
namespace tessera {

struct TESSERA_API JsonValue {
  enum class Kind : std::uint8_t { null, boolean, number, text, list, object };
  Kind kind = Kind::null;
  std::string text;                // of a text; of a number its digits, of a boolean "true" or "false"
  double number = 0.0;             // of a number; of a boolean 0 or 1
  std::vector<JsonValue> list;     // of a list; of an object its members' values
  std::vector<std::string> names;  // of an object: names[i] is the name of list[i]

  const JsonValue* find(std::string_view name) const;  // a member that is there and is not null; or null
  // Everything that can be read in it, lists opened, joined by ", ": [["Beauty", "Nails"]] gives "Beauty, Nails".
  std::string flat() const;
};

// Not thread-safe. Keeps its buffers from line to line.
class TESSERA_API JsonParser {
 public:
  JsonParser();
  ~JsonParser();
  // Nothing, and `problem` says why, where the text is no JSON.
  std::optional<JsonValue> parse(std::string_view text, std::string& problem);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The objects of a JSON lines file. Lines that are no JSON object go to `rejects`; blank lines are passed over.
class TESSERA_API JsonLines {
 public:
  JsonLines(const std::string& path, Rejects& rejects) : lines_(path), rejects_(rejects) {}
  bool next(JsonValue& object);
  std::int64_t number() const { return lines_.number(); }  // line of the object that next() gave last

 private:
  LineReader lines_;
  JsonParser parser_;
  Rejects& rejects_;
};

}  // namespace tessera
