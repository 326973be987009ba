#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "tensor/core/export.h"

namespace tessera {

// A plugin that cannot be found, loaded or trusted, or that failed. Names the plugin, its file and the call.
class TESSERA_API PluginError : public Error {
 public:
  using Error::Error;
  ~PluginError() override;
};

// Components by role and name. Role::kRole is "data", "featurizer", "tokenizer", "model" or "head".
// A component that is not known yet is looked up as <name>.so in the plugin folders (loader.h) and loaded.
class TESSERA_API Registry {
 public:
  struct Component {
    std::string role, name, summary, plugin, file;
    std::vector<OptionHelp> options;
    std::function<std::shared_ptr<void>(const Section&)> make;  // holds a Role*
  };

  // Called by a plugin's register function; throws PluginError for a duplicate name, telling both files.
  template <class Role, class Options>
  void add(const std::string& name, const std::string& summary, std::unique_ptr<Role> (*make)(const Options&, const Section&)) {
    add({Role::kRole, name, summary, "", "", describe_options<Options>(), [make](const Section& section) {
           std::shared_ptr<Role> made = make(section.read<Options>(), section);
           return std::shared_ptr<void>(std::move(made));
         }});
  }

  // Builds the component that section.plugin() names, with the section's options. ConfigErrors pass through; anything else that the
  // plugin throws is wrapped with its name, file and the call.
  template <class Role>
  std::shared_ptr<Role> create(const Section& section) {
    return std::static_pointer_cast<Role>(create(Role::kRole, section));
  }

  const Component* find(const std::string& role, const std::string& name) const;  // null where it is not registered
  std::vector<const Component*> components() const;                               // by role, then name

 private:
  friend class Loader;
  void add(Component component);
  std::shared_ptr<void> create(const char* role, const Section& section);
  std::map<std::string, std::map<std::string, Component>> components_;
  std::string loading_plugin_, loading_file_;
  std::function<bool(const std::string& name)> load_missing_;  // set by the Loader
};

}  // namespace tessera
