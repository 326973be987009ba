#include "tests/plugin_contract/plugins/tiny.h"

namespace {

struct Options {
  int width = 64;
  double dropout = 0.1;
  bool shuffle = false;
  std::string path = "codes.npy";
  std::string form = "ema";
  std::vector<std::int64_t> codes{256, 256};
  std::vector<std::string> fields;

  template <class V>
  void describe(V& v) {
    v("width", width, "embedding width", 1, 8192);
    v("dropout", dropout, "drop probability", 0.0, 0.9);
    v("shuffle", shuffle, "permute ids");
    v("path", path, "file to read");
    v("form", form, "how codebooks learn", {"ema", "gradient"});
    v("codes", codes, "codes a level", 2, 65536);
    v("fields", fields, "text fields");
  }
};

std::unique_ptr<tessera::Tokenizer> make(const Options& options, const tessera::Section& section) {
  if (options.width % 2 != 0) section.fail("width", "'width' must be even");
  return std::make_unique<Tiny>();
}

}  // namespace

TESSERA_PLUGIN("2.1", "options of every type", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, Options>("options", "a tokenizer with options of every type", make);
});
