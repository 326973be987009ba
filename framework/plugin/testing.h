#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "framework/plugin/loader.h"
#include "framework/plugin/registry.h"

// What the tests of plugins share. No test framework is included, so any will do.
namespace tessera {

// A folder of its own under the system's temporary one; gone with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tessera_XXXXXX").string();
    check(mkdtemp(pattern.data()) != nullptr, "no temporary folder like ", pattern);
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path(const std::string& name = "") const { return name.empty() ? path_ : path_ + "/" + name; }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name), std::ios::binary) << text;
    return path(name);
  }

 private:
  std::string path_;
};

// A component of a plugin that lies in `folder`: make_component<DataSource>(folder, "plugin = 'sequences'\npath =
// 'a.txt'").
template <class Role>
std::shared_ptr<Role> make_component(const std::string& folder, const std::string& toml) {
  static auto& registry = *new Registry;  // plugins are never unloaded
  static auto& loader = *new Loader(registry, {folder});
  static_cast<void>(loader);
  return registry.create<Role>(Section::parse(Role::kRole, toml));
}

// The text of the Error that call() throws.
template <class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// A folder of public data sets beside the source tree, or TESSERA_SHARED_DATA; nothing where it is absent.
inline std::optional<std::string> shared_data(const std::string& source_dir, const std::string& name) {
  const char* given = std::getenv("TESSERA_SHARED_DATA");
  for (const auto& root : {std::string(given != nullptr ? given : ""), source_dir + "/../shared/data"})
    if (!root.empty() && std::filesystem::exists(root + "/" + name)) return root + "/" + name;
  return std::nullopt;
}

}  // namespace tessera
