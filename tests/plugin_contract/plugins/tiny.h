#pragma once

#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"

// The least tokenizer: code 0 for every item.
class Tiny : public tessera::Tokenizer {
 public:
  void fit(const tessera::Dataset&, tessera::FitContext&) override {}
  tessera::ItemTokens tokens(const tessera::Dataset&) const override { return {}; }
  std::vector<std::int32_t> encode(const std::map<std::string, tessera::ItemFeatures>&) const override { return {}; }
  void visit(tessera::StateVisitor&) override {}
};

struct NoOptions {
  template <class V>
  void describe(V&) {}
};

inline std::unique_ptr<tessera::Tokenizer> make_tiny(const NoOptions&, const tessera::Section&) {
  return std::make_unique<Tiny>();
}
