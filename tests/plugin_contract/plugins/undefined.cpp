#include "tests/plugin_contract/plugins/tiny.h"

void defined_nowhere(tessera::Registry& registry);

TESSERA_PLUGIN("1", "calls a function that no library has",
               [](tessera::Registry& registry) { defined_nowhere(registry); });
