#include "framework/plugin/loader.h"

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "framework/plugin/elf.h"
#include "framework/plugin/plugin.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
constexpr const char* kSymbol = "tessera_plugin";
constexpr const char kMagic[8] = {'T', 'E', 'S', 'S', 'E', 'R', 'A', '\0'};

std::string indented(std::string text, const char* margin) {
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 1 + std::strlen(margin))
    text.replace(at, 1, std::string("\n") + margin);
  return text;
}

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw PluginError(str("plugin file ", path, ": ", why));
}

// Everything that must agree before the file may be mapped.
void check_before_loading(const std::string& path) {
  constexpr std::size_t kHead = offsetof(PluginDescriptor, name);
  std::optional<std::string> head;
  try {
    head = detail::exported_bytes(path, kSymbol, kHead);
  } catch (const Error& e) {
    refuse(path, e.what());
  }
  if (!head)
    refuse(path,
           str("is no Tessera plugin: it exports no '", kSymbol, "' (is TESSERA_PLUGIN(...) in one of its sources?)"));
  PluginDescriptor descriptor{};
  std::memcpy(static_cast<void*>(&descriptor), head->data(), head->size());
  if (std::memcmp(descriptor.magic, kMagic, sizeof kMagic) != 0)
    refuse(path, str("its symbol '", kSymbol, "' is no plugin descriptor"));
  if (descriptor.abi != kPluginAbi)
    refuse(path, str("was built for plugin ABI ", descriptor.abi, ", this program has ABI ", kPluginAbi,
                     "; build the plugin again against this version of Tessera"));
  descriptor.build_tag[sizeof descriptor.build_tag - 1] = '\0';
  if (descriptor.size != sizeof(PluginDescriptor) || std::strcmp(descriptor.build_tag, TESSERA_BUILD_TAG) != 0)
    refuse(path,
           str("was built with other tools than this program; build it again with the same ones\n  plugin:\n    ",
               indented(descriptor.build_tag, "    "), "\n  program:\n    ", indented(TESSERA_BUILD_TAG, "    ")));
}

const PluginDescriptor& map_library(const std::string& path) {
  // Never destroyed: objects and exceptions of a plugin may live until the program ends, and leak checkers find this
  // pointer.
  static auto& resident = *new std::vector<boost::dll::shared_library>;
  try {
    boost::dll::shared_library library;
    library.load(path, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
    const auto& descriptor = library.get<const PluginDescriptor>(kSymbol);
    resident.push_back(std::move(library));
    return descriptor;
  } catch (const std::exception& e) {
    refuse(path, str("cannot be loaded: ", e.what()));
  }
}

std::vector<std::string> search_path(std::vector<std::string> folders) {
  if (const char* given = std::getenv("TESSERA_PLUGIN_PATH")) {
    const std::string text = given;
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t end = std::min(text.find(':', begin), text.size());
      if (end > begin)
        folders.push_back(text.substr(begin, end - begin));  // an empty part would be the current directory
      begin = end + 1;
    }
  }
  const fs::path program = boost::dll::program_location().string();
  folders.push_back((program.parent_path() / ".." / "lib" / "tessera" / "plugins").lexically_normal().string());
  return folders;
}

bool is_plugin_name(const std::string& name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-'; });
}

}  // namespace

Loader::Loader(Registry& registry, std::vector<std::string> folders)
    : registry_(registry), folders_(search_path(std::move(folders))) {
  registry_.loader_ = this;
}

Loader::~Loader() {
  if (registry_.loader_ == this) registry_.loader_ = nullptr;
}

bool Loader::load_by_name(const std::string& name) {
  if (!is_plugin_name(name)) return false;
  for (const std::string& folder : folders_) {
    const fs::path path = fs::path(folder) / (name + ".so");
    std::error_code ignored;
    if (!fs::exists(path, ignored)) continue;
    load_file(path.string());
    return true;
  }
  return false;
}

void Loader::load_file(const std::string& path) {
  std::error_code missing;
  const std::string real = fs::canonical(path, missing).string();
  if (missing) refuse(path, str("cannot be opened: ", missing.message()));
  if (std::find(loaded_.begin(), loaded_.end(), real) != loaded_.end()) return;
  check_before_loading(real);
  const PluginDescriptor& plugin = map_library(real);
  const auto before = registry_.components_;
  const std::string call = str("plugin '", plugin.name, "' (", real, "): registering its components failed: ");
  const auto undo = [&](const std::string& why) {
    registry_.components_ = before;
    registry_.source_ = {};
    throw PluginError(call + why);
  };
  registry_.source_ = {plugin.name, plugin.version, real};
  try {
    plugin.register_components(registry_);
  } catch (const std::exception& e) {
    undo(e.what());
  } catch (...) {
    undo("it threw something that is no std::exception");
  }
  registry_.source_ = {};
  loaded_.push_back(real);
}

std::vector<std::string> Loader::available() const {
  std::vector<std::string> names;
  for (const std::string& folder : folders_) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
      if (entry.path().extension() == ".so") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace tessera
