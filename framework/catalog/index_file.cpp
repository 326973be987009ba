#include "framework/catalog/index_file.h"

#include "framework/checkpoint/json.h"

namespace tessera {
namespace {

std::string letters(int level) {
  std::string text;
  for (int rest = level + 1; rest > 0; rest = (rest - 1) / 26)
    text.insert(text.begin(), static_cast<char>('a' + (rest - 1) % 26));
  return text;
}

}  // namespace

std::string index_json(const Items& items, const Catalog& catalog) {
  check(items.size() == catalog.items(), "index: ", items.size(), " items in the data, ", catalog.items(),
        " in the catalogue");
  std::string out = "{";
  for (std::int32_t item = 0; item < catalog.items(); ++item) {
    out += (item ? ",\n  " : "\n  ") + json_text(items.ids[static_cast<std::size_t>(item)]) + ": [";
    const auto codes = catalog.codes_of(item);
    bool first = true;
    for (std::size_t l = 0; l < codes.size(); ++l) {
      if (codes[l] < 0) continue;
      out += str(first ? "" : ", ", "\"<", letters(static_cast<int>(l)), "_", codes[l], ">\"");
      first = false;
    }
    out += "]";
  }
  return out + "\n}\n";
}

}  // namespace tessera
