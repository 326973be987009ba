#include "framework/config/config.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "framework/config/impl.h"

namespace tessera {

using detail::Position;
using detail::Value;
using Kind = detail::Value::Kind;

namespace {

void merge(Value& into, Value from) {
  for (auto& [key, value] : from.members) {
    Value* present = into.find(key);
    if (!present) {
      into.members.push_back({key, std::move(value)});
    } else if (present->kind == Kind::table && value.kind == Kind::table) {
      merge(*present, std::move(value));
    } else {
      *present = std::move(value);
    }
  }
}

std::string read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) throw ConfigError(str(path, ": is a folder, expected a TOML file"));
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ConfigError(str(path, ": cannot be read: ", std::strerror(errno)));
  return {std::istreambuf_iterator<char>(file), {}};
}

class FileReader {
 public:
  explicit FileReader(int rank) : rank_(rank) {}

  Value read(const std::string& path) { return with_includes(path, detail::parse_toml(path, rank_, read_file(path))); }

  // What the file includes, overridden by the file itself.
  Value with_includes(const std::string& path, Value own) {
    const Value* include = own.find("include");
    if (!include) return own;
    chain_.push_back(std::filesystem::path(path).lexically_normal().string());
    Value merged;
    merged.position = own.position;
    for (const std::string& name : names(*include)) merge(merged, included(*include, path, name));
    chain_.pop_back();
    std::erase_if(own.members, [](const auto& member) { return member.key == "include"; });
    merge(merged, std::move(own));
    return merged;
  }

 private:
  static std::vector<std::string> names(const Value& include) {
    if (include.kind == Kind::text) return {include.text};
    std::vector<std::string> names;
    for (const Value& item : include.items) names.push_back(item.text);
    const bool all_text =
        std::all_of(include.items.begin(), include.items.end(), [](const Value& v) { return v.kind == Kind::text; });
    if (include.kind != Kind::list || !all_text)
      throw ConfigError(str(include.position.text(), ": 'include' is ", include.described(),
                            ", expected a file name or a list of them"));
    return names;
  }

  Value included(const Value& include, const std::string& from, const std::string& name) {
    const std::string path = (std::filesystem::path(from).parent_path() / name).lexically_normal().string();
    if (std::find(chain_.begin(), chain_.end(), path) != chain_.end())
      throw ConfigError(str(include.position.text(), ": include goes round in a circle: ", detail::join(chain_, " -> "),
                            " -> ", path));
    try {
      return read(path);
    } catch (const ConfigError& e) {
      if (std::filesystem::exists(path)) throw;
      throw ConfigError(str(include.position.text(), ": included file ", e.what()));
    }
  }

  int rank_;
  std::vector<std::string> chain_;
};

bool is_setting_key(std::string_view part) {
  return !part.empty() &&
         std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

Value setting_value(const Position& position, const std::string& text) {
  Value value;
  try {
    Value parsed = detail::parse_toml("", position.rank, "v = " + text);
    if (parsed.members.size() != 1) throw ConfigError(str(position.text(), ": expected one value"));
    value = std::move(parsed.members.front().value);
  } catch (const ConfigError&) {
    // A shell eats quotes, so a word that is no TOML value is a text: --set data.path=/data/beauty
    if (text.empty() || std::string_view("\"'[{").find(text[0]) != std::string_view::npos ||
        text.find('\n') != std::string::npos)
      throw ConfigError(str(position.text(), ": '", text, "' is no TOML value"));
    value.kind = Kind::text;
    value.text = text;
  }
  value.position = position;
  for (Value& item : value.items) item.position = position;
  return value;
}

// The child of `at` that a part of a setting's key names; made where it is missing.
Value& step_into(Value& at, const std::string& part, const std::string& so_far, const Position& position) {
  if (at.kind == Kind::list) {
    const bool digits =
        part.size() < 6 && std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c); });
    const std::size_t index = digits ? std::stoul(part) : at.items.size();
    if (index >= at.items.size())
      throw ConfigError(str(position.text(), ": '", so_far, "' is a list of ", at.items.size(),
                            ", expected an index from 0, as in ", so_far, ".0.key"));
    return at.items[index];
  }
  if (at.kind != Kind::table)
    throw ConfigError(str(position.text(), ": '", so_far, "' is ", at.described(), ", expected a table"));
  if (Value* present = at.find(part)) return *present;
  at.members.push_back({part, Value{}});
  at.members.back().value.position = position;
  return at.members.back().value;
}

void apply_setting(Value& root, const std::string& setting, int rank) {
  const Position position{std::make_shared<const std::string>("--set " + setting), 0, 0, rank};
  const std::size_t equals = setting.find('=');
  std::string key = setting.substr(0, equals);
  key.erase(key.find_last_not_of(' ') + 1);
  const auto parts = detail::split_path(key);
  if (equals == std::string::npos || !std::all_of(parts.begin(), parts.end(), is_setting_key))
    throw ConfigError(str(position.text(), ": expected section.key=value"));
  Value* at = &root;
  std::string so_far;
  for (const std::string& part : parts) {
    at = &step_into(*at, part, so_far, position);
    so_far += (so_far.empty() ? "" : ".") + part;
  }
  *at = setting_value(position, setting.substr(equals + 1));
}

const Config::Impl& impl_of(const std::shared_ptr<const Config::Impl>& impl) {
  static const Config::Impl& empty = *new Config::Impl;
  return impl ? *impl : empty;
}

Section section_of(const std::string& name, const Value& table) {
  return Section(std::make_shared<const Section::Impl>(Section::Impl{name, table, table.position.text()}));
}

std::vector<std::string> table_names(const Value& root) {
  std::vector<std::string> names;
  for (const auto& [key, value] : root.members)
    if (value.kind == Kind::table || value.is_table_list()) names.push_back(key);
  return names;
}

}  // namespace

Config Config::load(const std::vector<std::string>& files, const std::vector<std::string>& settings) {
  auto impl = std::make_shared<Impl>();
  impl->files = detail::join(files);
  std::vector<std::string> problems;
  const auto attempt = [&problems](const auto& step) {
    try {
      step();
    } catch (const ConfigError& e) {
      problems.insert(problems.end(), e.problems().begin(), e.problems().end());
    }
  };
  int rank = 0;
  for (const std::string& file : files) attempt([&] { merge(impl->root, FileReader(rank++).read(file)); });
  if (problems.empty())  // a setting may walk into what a broken file would have said
    for (const std::string& setting : settings) attempt([&] { apply_setting(impl->root, setting, rank++); });
  if (!problems.empty()) throw ConfigError(problems);
  Config config;
  config.impl_ = std::move(impl);
  return config;
}

Config Config::parse(const std::string& name, const std::string& toml, const std::vector<std::string>& settings) {
  auto impl = std::make_shared<Impl>();
  impl->files = name;
  impl->root = FileReader(0).with_includes(name, detail::parse_toml(name, 0, toml));
  int rank = 1;
  for (const std::string& setting : settings) apply_setting(impl->root, setting, rank++);
  Config config;
  config.impl_ = std::move(impl);
  return config;
}

bool Config::has(const std::string& section) const {
  const Value* found = detail::find_path(impl_of(impl_).root, section);
  return found && (found->kind == Kind::table || found->is_table_list());
}

Section Config::section(const std::string& name) const {
  const Impl& impl = impl_of(impl_);
  const Value* found = detail::find_path(impl.root, name);
  if (!found) {
    const auto present = table_names(impl.root);
    throw ConfigError(str(impl.files, ": section [", name, "] is missing", suggestion(name, present),
                          " (present: ", present.empty() ? "none" : detail::join(present), ")"));
  }
  if (found->kind == Kind::table) return section_of(name, *found);
  if (found->is_table_list() && found->items.size() == 1) return section_of(name, found->items.front());
  if (found->is_table_list())
    throw ConfigError(str(found->items[1].position.text(), ": [[", name, "]] is given ", found->items.size(),
                          " times, expected one [", name, "]"));
  throw ConfigError(
      str(found->position.text(), ": '", name, "' is ", found->described(), ", expected a section [", name, "]"));
}

Section Config::section_or_empty(const std::string& name) const {
  const Impl& impl = impl_of(impl_);
  if (detail::find_path(impl.root, name)) return section(name);
  return Section(std::make_shared<const Section::Impl>(Section::Impl{name, Value{}, impl.files}));
}

std::vector<Section> Config::sections(const std::string& name) const {
  const Value* found = detail::find_path(impl_of(impl_).root, name);
  if (!found || (found->kind == Kind::list && found->items.empty())) return {};
  if (!found->is_table_list()) return {section(name)};
  std::vector<Section> sections;
  for (const Value& item : found->items) sections.push_back(section_of(name, item));
  return sections;
}

std::vector<std::string> Config::top_level() const {
  std::vector<std::string> names;
  for (const auto& member : impl_of(impl_).root.members) names.push_back(member.key);
  return names;
}

std::string Config::where(const std::string& key) const {
  const Impl& impl = impl_of(impl_);
  const Value* found = detail::find_path(impl.root, key);
  return found ? found->position.text() : impl.files;
}

std::string Config::text(const std::string& key, const std::string& otherwise) const {
  const Value* found = detail::find_path(impl_of(impl_).root, key);
  if (!found) return otherwise;
  if (found->kind != Kind::text)
    throw ConfigError(str(found->position.text(), ": '", key, "' is ", found->described(), ", expected a text"));
  return found->text;
}

std::vector<std::string> Config::texts(const std::string& key) const {
  const Value* found = detail::find_path(impl_of(impl_).root, key);
  if (!found) return {};
  std::vector<std::string> texts;
  for (const Value& item : found->items) texts.push_back(item.text);
  const bool all_text =
      std::all_of(found->items.begin(), found->items.end(), [](const Value& v) { return v.kind == Kind::text; });
  if (found->kind != Kind::list || !all_text)
    throw ConfigError(
        str(found->position.text(), ": '", key, "' is ", found->described(), ", expected a list of texts"));
  return texts;
}

Config Config::with_defaults(const std::string& section, const std::vector<OptionHelp>& options) const {
  auto impl = std::make_shared<Impl>(impl_of(impl_));
  Value* at = &impl->root;
  for (const std::string& part : detail::split_path(section)) {
    if (part == "0" && at->kind == Kind::table) continue;  // "featurizer.0" of a single [featurizer]
    at = &step_into(*at, part, section, Position{});
  }
  for (const OptionHelp& option : options) {
    if (at->find(option.key)) continue;
    Value value = setting_value(Position{}, option.default_value);
    value.is_default = true;
    at->members.push_back({option.key, std::move(value)});
  }
  Config config;
  config.impl_ = std::move(impl);
  return config;
}

std::string Config::toml() const { return detail::to_toml(impl_of(impl_).root); }

}  // namespace tessera
