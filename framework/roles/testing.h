#pragma once

#include <map>
#include <string>

#include "framework/roles/context.h"

namespace tessera {

// A checkpoint in memory, for tests: save with a fresh one, then load(true) and visit again.
class MemoryState final : public StateVisitor {
 public:
  bool loading() const override { return loading_; }
  void load(bool loading) { loading_ = loading; }
  void tensor(const std::string& name, Tensor& value) override {
    if (!loading_) {
      tensors[name] = value.clone();
      return;
    }
    check(tensors.contains(name), "state: no tensor '", name, "'");
    value = tensors[name].clone();
  }
  void text(const std::string& name, std::string& value) override {
    if (!loading_) {
      texts[name] = value;
      return;
    }
    check(texts.contains(name), "state: no text '", name, "'");
    value = texts[name];
  }

  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> texts;

 private:
  bool loading_ = false;
};

}  // namespace tessera
