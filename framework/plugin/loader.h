#pragma once

#include <string>
#include <vector>

#include "framework/plugin/registry.h"
#include "tensor/core/export.h"

namespace tessera {

// Finds and loads plugins into a registry: lazily, once, never unloaded. Folders, in this order: those given
// (--plugin-dir), TESSERA_PLUGIN_PATH (colon separated), <program>/../lib/tessera/plugins. Never the current directory.
// The handshake reads the file before it maps it: it exists, is an ELF library, has the symbol; magic; ABI number;
// build tag (printed one under the other where they differ). Only then is it loaded and its register function called; a
// plugin that fails there leaves no component behind. Throws PluginError. This room is the one place that includes
// Boost.DLL. Outlives the registry's create() calls. Not thread-safe.
class TESSERA_API Loader {
 public:
  explicit Loader(Registry& registry, std::vector<std::string> folders = {});
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;
  bool load_by_name(const std::string& name);  // false where no folder has <name>.so
  void load_file(const std::string& path);
  std::vector<std::string> available() const;  // names of all .so files in the folders
  const std::vector<std::string>& folders() const { return folders_; }

 private:
  Registry& registry_;
  std::vector<std::string> folders_;
  std::vector<std::string> loaded_;
};

}  // namespace tessera
