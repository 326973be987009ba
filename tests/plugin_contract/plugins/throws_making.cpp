#include <stdexcept>

#include "tests/plugin_contract/plugins/tiny.h"

namespace {

struct PrivateError : std::logic_error {
  using std::logic_error::logic_error;
};

using Made = std::unique_ptr<tessera::Tokenizer>;
Made throw_exception(const NoOptions&, const tessera::Section&) { throw PrivateError("codebook file is empty"); }
Made throw_number(const NoOptions&, const tessera::Section&) { throw 42; }
Made throw_config(const NoOptions&, const tessera::Section& section) {
  section.fail("plugin", "width is no multiple of heads");
}
Made return_nothing(const NoOptions&, const tessera::Section&) { return nullptr; }

}  // namespace

TESSERA_PLUGIN("1", "fails when a component is made", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, NoOptions>("throws_exception", "", throw_exception);
  registry.add<tessera::Tokenizer, NoOptions>("throws_number", "", throw_number);
  registry.add<tessera::Tokenizer, NoOptions>("throws_config", "", throw_config);
  registry.add<tessera::Tokenizer, NoOptions>("returns_nothing", "", return_nothing);
});
