#include <iostream>

#include "framework/plugin/loader.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"

namespace tessera::cli {
namespace {

void print_options(const Registry::Component& component) {
  std::cout << component.role << " " << component.name << ": " << component.summary << "\nfrom " << component.file
            << "\n\n";
  std::vector<std::vector<std::string>> rows;
  for (const auto& option : component.options) {
    std::cout << "  " << option.key << " = " << option.default_value << "    (" << option.type
              << (option.range.empty() ? "" : ", " + option.range) << ")\n      " << option.help << "\n";
  }
  if (component.options.empty()) std::cout << "  no options\n";
  std::cout << "\n";
}

}  // namespace

int run_plugins(const std::vector<std::string>& words) {
  Arguments arguments("plugins");
  if (!arguments.parse(words)) return 0;
  const auto wanted = arguments.words(0, 1);
  Registry registry;
  Loader loader(registry, arguments.texts("plugin-dir"));
  int failed = 0;
  for (const auto& name : loader.available()) {
    try {
      loader.load_by_name(name);
    } catch (const PluginError& error) {
      std::cerr << error.what() << "\n";
      ++failed;
    }
  }
  bool found = false;
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> names;
  for (const auto* component : registry.components()) {
    names.push_back(component->name);
    if (wanted.empty()) {
      std::string name = component->name;
      name.resize(std::max<std::size_t>(name.size(), 20), ' ');
      std::string role = component->role;
      role.resize(std::max<std::size_t>(role.size(), 10), ' ');
      std::cout << role << "  " << name << "  " << component->summary << "\n";
    } else if (component->name == wanted[0]) {
      print_options(*component);
      found = true;
    }
  }
  if (!wanted.empty() && !found) {
    std::cerr << "no plugin offers '" << wanted[0] << "'" << suggestion(wanted[0], names)
              << "; `tessera plugins` lists them\n";
    return 2;
  }
  return failed > 0 ? 1 : 0;
}

}  // namespace tessera::cli
