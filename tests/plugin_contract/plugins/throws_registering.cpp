#include <stdexcept>

#include "tests/plugin_contract/plugins/tiny.h"

TESSERA_PLUGIN("1", "throws after its first component", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, NoOptions>("half_registered", "left behind by mistake", make_tiny);
  throw std::logic_error("the table of kernels is empty");
});
