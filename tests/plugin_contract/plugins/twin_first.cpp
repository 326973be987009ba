#include "tests/plugin_contract/plugins/tiny.h"

TESSERA_PLUGIN("1", "registers the name 'twin'", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, NoOptions>("twin", "of two plugins", make_tiny);
});
