#include "framework/config/config.h"
#include "framework/config/impl.h"

namespace tessera {

using Kind = detail::Value::Kind;

ConfigError::ConfigError(std::vector<std::string> problems)
    : Error(detail::join(problems, "\n")), problems_(std::move(problems)) {}
ConfigError::~ConfigError() = default;

Section::Section(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Section::Section(const Section&) = default;
Section& Section::operator=(const Section&) = default;
Section::~Section() = default;

Section Section::empty(const std::string& name) {
  return Section(std::make_shared<const Impl>(Impl{name, detail::Value{}, str("[", name, "]")}));
}

Section Section::parse(const std::string& name, const std::string& toml) {
  return Section(std::make_shared<const Impl>(Impl{name, detail::parse_toml(name, 0, toml), name}));
}

const std::string& Section::name() const { return impl_->name; }

std::string Section::where(std::string_view key) const {
  const detail::Value* found = key.empty() ? nullptr : impl_->table.find(key);
  return found ? found->position.text() : impl_->where;
}

std::string Section::plugin() const { return text("plugin"); }

bool Section::has(std::string_view key) const { return impl_->table.find(key) != nullptr; }

std::string Section::toml() const { return detail::to_toml(impl_->table); }

std::vector<std::string> Section::keys() const {
  std::vector<std::string> keys;
  for (const auto& member : impl_->table.members) keys.push_back(member.key);
  return keys;
}

std::string Section::text(std::string_view key) const {
  const detail::Value* found = impl_->table.find(key);
  if (!found) throw ConfigError(str(where(), ": [", name(), "] has no '", key, "'"));
  if (found->kind != Kind::text)
    throw ConfigError(str(where(key), ": '", key, "' in [", name(), "] is ", found->described(), ", expected a text"));
  return found->text;
}

double Section::number(std::string_view key) const {
  const detail::Value* found = impl_->table.find(key);
  if (!found) throw ConfigError(str(where(), ": [", name(), "] has no '", key, "'"));
  if (found->kind == Kind::integer) return static_cast<double>(found->integer);
  if (found->kind != Kind::number)
    throw ConfigError(
        str(where(key), ": '", key, "' in [", name(), "] is ", found->described(), ", expected a number"));
  return found->number;
}

void Section::fail(std::string_view key, const std::string& text) const {
  throw ConfigError(str(where(key), ": ", text));
}

}  // namespace tessera
