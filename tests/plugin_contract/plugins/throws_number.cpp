#include "tests/plugin_contract/plugins/tiny.h"

TESSERA_PLUGIN("1", "throws a number", [](tessera::Registry&) { throw 42; });
