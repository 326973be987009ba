#include "framework/data/table.h"

#include <algorithm>

#include "framework/data/dataset.h"

namespace tessera {

TableReader::TableReader(const std::string& path, Rejects& rejects, std::vector<std::string> names)
    : lines_(path), rejects_(rejects), names_(std::move(names)), types_(names_.size()) {
  if (!names_.empty()) return;
  std::string_view line;
  if (!lines_.next(line) || line.empty()) throw DataError(str(path, ":1: is empty, expected a header of column names"));
  for (const auto column : split_at(line, '\t')) {
    const std::size_t colon = column.find(':');
    names_.emplace_back(column.substr(0, colon));
    types_.emplace_back(colon == std::string_view::npos ? std::string_view() : column.substr(colon + 1));
  }
}

int TableReader::find(std::initializer_list<std::string_view> names) const {
  for (const auto name : names)
    if (const auto found = std::find(names_.begin(), names_.end(), name); found != names_.end())
      return static_cast<int>(found - names_.begin());
  return -1;
}

int TableReader::require(std::initializer_list<std::string_view> names) const {
  if (const int column = find(names); column >= 0) return column;
  std::string wanted, present;
  for (const auto name : names) wanted += (wanted.empty() ? "'" : " or '") + std::string(name) + "'";
  for (const auto& name : names_) present += (present.empty() ? "" : ", ") + name;
  throw DataError(str(path(), ":1: has no column ", wanted, "; its columns are ", present));
}

bool TableReader::next(std::vector<std::string_view>& fields) {
  std::string_view line;
  while (lines_.next(line)) {
    if (line.empty()) continue;
    fields = split_at(line, '\t');
    if (fields.size() == names_.size()) return true;
    reject(str("has ", fields.size(), " fields, expected ", names_.size(), ", separated by tabs"));
  }
  return false;
}

}  // namespace tessera
