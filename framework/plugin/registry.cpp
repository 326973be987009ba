#include "framework/plugin/registry.h"

#include "framework/plugin/loader.h"

namespace tessera {
namespace {

std::string words(const std::vector<std::string>& list, const char* none) {
  std::string out;
  for (const std::string& word : list) out += (out.empty() ? "" : ", ") + word;
  return out.empty() ? none : out;
}

std::string origin(const std::string& plugin, const std::string& file) {
  return plugin.empty() ? "the program itself" : str("plugin '", plugin, "' (", file, ")");
}

}  // namespace

PluginError::~PluginError() = default;

void Registry::add(Component component) {
  component.plugin = source_.plugin;
  component.version = source_.version;
  component.file = source_.file;
  auto& of_role = components_[component.role];
  const auto present = of_role.find(component.name);
  if (present != of_role.end())
    throw PluginError(str(component.role, " '", component.name, "' of ", origin(component.plugin, component.file),
                          " is already registered by ", origin(present->second.plugin, present->second.file)));
  of_role.emplace(component.name, std::move(component));
}

const Registry::Component* Registry::find(const std::string& role, const std::string& name) const {
  const auto of_role = components_.find(role);
  if (of_role == components_.end()) return nullptr;
  const auto found = of_role->second.find(name);
  return found == of_role->second.end() ? nullptr : &found->second;
}

std::vector<const Registry::Component*> Registry::components() const {
  std::vector<const Component*> all;
  for (const auto& [role, of_role] : components_)
    for (const auto& [name, component] : of_role) all.push_back(&component);
  return all;
}

std::shared_ptr<void> Registry::create(const char* role, const Section& section) {
  const std::string name = section.plugin();
  const Component* found = find(role, name);
  if (!found && loader_ && loader_->load_by_name(name)) found = find(role, name);
  if (!found) refuse_unknown(role, name, section);
  const std::string call = str(origin(found->plugin, found->file), ": making the ", role, " '", name, "' failed: ");
  std::shared_ptr<void> made;
  try {
    made = found->make(section);
  } catch (const ConfigError&) {
    throw;  // it already says file, line and column
  } catch (const std::exception& e) {
    throw PluginError(call + e.what());
  } catch (...) {
    throw PluginError(call + "it threw something that is no std::exception");
  }
  if (!made) throw PluginError(call + "it returned nothing");
  return made;
}

void Registry::refuse_unknown(const std::string& role, const std::string& name, const Section& section) const {
  std::vector<std::string> near;
  std::string other_role;
  for (const auto& [other, of_role] : components_)
    for (const auto& [known, component] : of_role) {
      if (other == role) near.push_back(known);
      else if (known == name) other_role = str("; '", name, "' is a ", other);
    }
  const std::string registered = words(near, "none");
  std::string searched;
  if (loader_) {
    const auto files = loader_->available();
    near.insert(near.end(), files.begin(), files.end());
    searched = str("; plugin files: ", words(files, "none"), "; searched: ", words(loader_->folders(), "no folder"));
  }
  const std::string help = other_role.empty() ? suggestion(name, near) : other_role;
  section.fail("plugin", str("no ", role, " named '", name, "'", help, " (registered as ", role, ": ", registered,
                             searched, ")"));
}

}  // namespace tessera
