#include <cstdlib>

#include "tests/plugin_contract/plugins/tiny.h"

namespace {
// A refused library is never mapped: this would end the test program.
[[maybe_unused]] const int mapped = (std::abort(), 0);
void nothing(tessera::Registry&) {}
}  // namespace

extern "C" TESSERA_API const tessera::PluginDescriptor tessera_plugin;
constinit const tessera::PluginDescriptor tessera_plugin = {{'T', 'E', 'S', 'S', 'E', 'R', 'A', '\0'},
                                                            sizeof(tessera::PluginDescriptor),
                                                            77,
                                                            TESSERA_BUILD_TAG,
                                                            "wrong_abi",
                                                            "1",
                                                            "built for another ABI",
                                                            nothing};
