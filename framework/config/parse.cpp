#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "framework/config/config.h"
#include "framework/config/tree.h"

namespace tessera::detail {
namespace {

struct Converter {
  std::shared_ptr<const std::string> file;
  int rank;

  Position at(const toml::source_region& region) const {
    return {file, static_cast<int>(region.begin.line), static_cast<int>(region.begin.column), rank};
  }

  Value convert(const toml::node& node, Position position) const {
    Value value;
    value.position = std::move(position);
    node.visit([&](const auto& n) { fill(value, n); });
    return value;
  }

  void fill(Value& value, const toml::table& table) const {
    value.kind = Value::Kind::table;
    for (auto&& [key, node] : table) value.members.push_back({std::string(key.str()), convert(node, at(key.source()))});
    // toml++ sorts keys by name; people read them in file order.
    std::stable_sort(value.members.begin(), value.members.end(),
                     [](const auto& a, const auto& b) { return a.value.position < b.value.position; });
  }
  void fill(Value& value, const toml::array& array) const {
    value.kind = Value::Kind::list;
    for (auto&& node : array) value.items.push_back(convert(node, at(node.source())));
  }
  void fill(Value& value, const toml::value<std::string>& node) const {
    value.kind = Value::Kind::text;
    value.text = node.get();
  }
  void fill(Value& value, const toml::value<std::int64_t>& node) const {
    value.kind = Value::Kind::integer;
    value.integer = node.get();
  }
  void fill(Value& value, const toml::value<double>& node) const {
    value.kind = Value::Kind::number;
    value.number = node.get();
  }
  void fill(Value& value, const toml::value<bool>& node) const {
    value.kind = Value::Kind::boolean;
    value.boolean = node.get();
  }
  template <class Date>
  void fill(Value& value, const toml::value<Date>& node) const {
    value.kind = Value::Kind::date;
    std::ostringstream out;
    out << node.get();
    value.text = out.str();
  }
};

}  // namespace

Value parse_toml(const std::string& name, int rank, std::string_view toml) {
  const Converter converter{std::make_shared<const std::string>(name), rank};
  try {
    const toml::table table = toml::parse(toml, name);
    return converter.convert(table, Position{converter.file, 0, 0, rank});
  } catch (const toml::parse_error& e) {
    throw ConfigError(str(converter.at(e.source()).text(), ": not TOML: ", e.description()));
  }
}

}  // namespace tessera::detail
