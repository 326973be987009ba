#include "framework/catalog/filters.h"

#include <fstream>
#include <unordered_map>

#include "framework/config/config.h"
#include "framework/data/rejects.h"

namespace tessera {

ItemMask items_with(const Items& items, const std::string& field, const std::string& value) {
  const auto found = items.fields.find(field);
  if (found == items.fields.end()) {
    std::vector<std::string> known;
    std::string list;
    for (const auto& [name, values] : items.fields) {
      known.push_back(name);
      list += (list.empty() ? "" : ", ") + name;
    }
    throw Error(str("filter: items have no field '", field, "'; they have: ", list.empty() ? "none" : list,
                    suggestion(field, known)));
  }
  ItemMask mask(found->second.size(), 0);
  std::size_t hits = 0;
  for (std::size_t i = 0; i < mask.size(); ++i) hits += mask[i] = found->second[i] == value ? 1 : 0;
  check(hits > 0, "filter: no item has ", field, " = '", value, "'");
  return mask;
}

ItemMask items_of_file(const Items& items, const std::string& path) {
  std::ifstream file(path);
  check(file.good(), "filter: cannot open '", path, "', expected a file with one item id a line");
  std::unordered_map<std::string, std::size_t> number;
  for (std::size_t i = 0; i < items.ids.size(); ++i) number.emplace(items.ids[i], i);
  ItemMask mask(items.ids.size(), 0);
  Rejects rejects;
  std::int64_t record = 0;
  for (std::string line; std::getline(file, line);) {
    ++record;
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos) continue;
    const std::string id = line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
    const auto found = number.find(id);
    if (found == number.end()) rejects.add(path, record, str("item '", id, "' is not in the catalogue"));
    else mask[found->second] = 1;
  }
  rejects.finish();
  return mask;
}

void restrict_mask(ItemMask& mask, std::span<const std::uint8_t> other) {
  if (other.empty()) return;
  check(mask.size() == other.size(), "filter: masks of ", mask.size(), " and ", other.size(),
        " items do not fit each other");
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = mask[i] && other[i] ? 1 : 0;
}

std::vector<std::uint8_t> open_nodes(const Trie& trie, std::span<const std::uint8_t> allowed) {
  const auto nodes = static_cast<std::size_t>(trie.nodes());
  if (allowed.empty()) return std::vector<std::uint8_t>(nodes, 1);
  const std::int32_t leaves = trie.levels() == 0 ? 0 : trie.nodes_at(trie.levels());
  check(static_cast<std::int64_t>(allowed.size()) == leaves, "filter: a mask of ", allowed.size(),
        " items for a trie of ", leaves);
  std::vector<std::uint8_t> open(nodes, 0);
  for (std::size_t item = 0; item < allowed.size(); ++item)
    if (allowed[item]) open[static_cast<std::size_t>(trie.leaf_of(static_cast<std::int32_t>(item)))] = 1;
  for (std::int32_t node = trie.nodes(); node-- > 0;) {  // children have larger numbers than their parent
    const Trie::Children list = trie.children(node);
    for (std::size_t c = 0; c < list.code.size(); ++c)
      if (open[static_cast<std::size_t>(list.first) + c]) open[static_cast<std::size_t>(node)] = 1;
  }
  return open;
}

}  // namespace tessera
