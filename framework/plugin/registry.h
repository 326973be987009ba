#pragma once

#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "tensor/core/export.h"

namespace tessera {

class Loader;

// A plugin that cannot be found, loaded or trusted, or that failed. Names the plugin, its file and the call.
class TESSERA_API PluginError : public Error {
 public:
  using Error::Error;
  ~PluginError() override;
};

// Components by role and name. Role::kRole is "data", "featurizer", "tokenizer", "model" or "head".
// A component that is not known yet is looked up as <name>.so in the plugin folders (loader.h) and loaded. Not
// thread-safe.
class TESSERA_API Registry {
 public:
  struct Component {
    std::string role, name, summary, plugin, version,
        file;  // plugin, version and file: empty where the program itself adds it
    std::vector<OptionHelp> options;
    std::function<std::shared_ptr<void>(const Section&)> make;  // holds a Role*
  };

  // Called by a plugin's register function; throws PluginError for a duplicate name, telling both files.
  template <class Role, class Options>
  void add(const std::string& name, const std::string& summary,
           std::unique_ptr<Role> (*make)(const Options&, const Section&)) {
    add({Role::kRole, name, summary, "", "", "", describe_options<Options>(), [make](const Section& section) {
           std::vector<std::string> tables;  // those that belong to the role, as [data.files] to data
           if constexpr (requires { Role::kTables; }) tables.assign(std::begin(Role::kTables), std::end(Role::kTables));
           std::shared_ptr<Role> made = make(section.read<Options>(tables), section);
           return std::shared_ptr<void>(std::move(made));
         }});
  }

  // Builds the component that section.plugin() names, with the section's options. ConfigErrors pass through; anything
  // else that the plugin throws is wrapped with its name, file and the call.
  template <class Role>
  std::shared_ptr<Role> create(const Section& section) {
    return std::static_pointer_cast<Role>(create(Role::kRole, section));
  }

  const Component* find(const std::string& role, const std::string& name) const;  // null where it is not registered
  std::vector<const Component*> components() const;                               // by role, then name

 private:
  friend class Loader;
  struct Source {  // the plugin that registers just now
    std::string plugin, version, file;
  };
  void add(Component component);
  std::shared_ptr<void> create(const char* role, const Section& section);
  [[noreturn]] void refuse_unknown(const std::string& role, const std::string& name, const Section& section) const;

  std::map<std::string, std::map<std::string, Component>> components_;
  Source source_;
  Loader* loader_ = nullptr;  // the latest; a Loader outlives the registry's create() calls
};

}  // namespace tessera
