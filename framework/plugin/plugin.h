#pragma once

#include <cstdint>

#include "framework/plugin/build_tag.h"
#include "framework/plugin/registry.h"
#include "tensor/core/export.h"

// What a plugin's source includes. A plugin is a shared library that exports one symbol of plain data. The host reads
// what must agree (magic, size, ABI number, build tag) out of the file, before any of the plugin's code runs:
//   TESSERA_PLUGIN("0.1", "residual quantisation of item vectors", [](tessera::Registry& registry) {
//     registry.add<tessera::Tokenizer, Options>("rq_vae", "what it is", make);
//   });
// tessera_add_plugin(<name> <sources>...) names and builds it.
namespace tessera {

inline constexpr std::uint32_t kPluginAbi = 1;  // framework/plugin/abi.lock: change both together

// Append only. The fields before `name` hold no address, so that they read the same in the file as in memory.
struct PluginDescriptor {
  char magic[8];        // "TESSERA" and a zero
  std::uint32_t size;   // sizeof(PluginDescriptor) when the plugin was built
  std::uint32_t abi;    // kPluginAbi when the plugin was built
  char build_tag[240];  // TESSERA_BUILD_TAG when the plugin was built
  const char* name;
  const char* version;
  const char* summary;
  void (*register_components)(Registry&);
};

}  // namespace tessera

// Variadic, because the register function may be a lambda with commas in it.
#define TESSERA_PLUGIN(version, summary, ...)                                                              \
  extern "C" TESSERA_API const ::tessera::PluginDescriptor tessera_plugin;                                 \
  constinit const ::tessera::PluginDescriptor tessera_plugin = {{'T', 'E', 'S', 'S', 'E', 'R', 'A', '\0'}, \
                                                                sizeof(::tessera::PluginDescriptor),       \
                                                                ::tessera::kPluginAbi,                     \
                                                                TESSERA_BUILD_TAG,                         \
                                                                TESSERA_PLUGIN_NAME,                       \
                                                                version,                                   \
                                                                summary,                                   \
                                                                __VA_ARGS__}
