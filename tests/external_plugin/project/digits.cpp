#include "cosine.h"
#include "framework/plugin/plugin.h"
#include "tokenizer.h"

TESSERA_PLUGIN("1.0", "items as digits, ranked by cosine", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, digits::TokenizerOptions>("digits", "the digits of an item's number",
                                                             digits::make_tokenizer);
  registry.add<tessera::Head, digits::CosineOptions>("digits", "cosine of state and item vector", digits::make_cosine);
});
