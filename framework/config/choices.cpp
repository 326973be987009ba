#include <algorithm>

#include "framework/config/config.h"
#include "framework/config/impl.h"

namespace tessera {

using detail::Value;
using Kind = detail::Value::Kind;

namespace {

void gather(const Value& table, const std::string& section, const std::string& path, std::vector<Choices>& out,
            std::vector<std::string>& problems) {
  for (const auto& member : table.members) {
    const Value& value = member.value;
    const std::string key = path.empty() ? member.key : path + "." + member.key;
    const auto problem = [&](const std::string& text) {
      problems.push_back(str(value.position.text(), ": '", key, "' in [", section, "] ", text));
    };
    if (value.kind == Kind::table) {
      gather(value, section, key, out, problems);
    } else if (value.kind != Kind::list) {
      problem(str("is ", value.described(), ", expected a list of values to try"));
    } else if (value.items.empty()) {
      problem("is an empty list, expected one value to try or more");
    } else if (std::any_of(out.begin(), out.end(), [&](const Choices& c) { return c.key == key; })) {
      problem("is given twice");
    } else {
      Choices choices{key, value.position.text(), {}};
      for (const Value& item : value.items) choices.values.push_back(item.literal());
      out.push_back(std::move(choices));
    }
  }
}

}  // namespace

std::vector<Choices> Config::choices(const std::string& section_name) const {
  const Section lists = section(section_name);
  std::vector<Choices> out;
  std::vector<std::string> problems;
  gather(*detail::find_path(impl_->root, section_name), section_name, "", out, problems);
  if (problems.empty() && out.empty())
    problems.push_back(str(lists.where(), ": [", section_name, "] holds no list of values to try"));
  if (!problems.empty()) throw ConfigError(problems);
  return out;
}

Config Config::without(const std::string& key) const {
  auto impl = std::make_shared<Impl>(*impl_);
  std::erase_if(impl->root.members, [&](const auto& member) { return member.key == key; });
  Config config;
  config.impl_ = std::move(impl);
  return config;
}

}  // namespace tessera
