#pragma once

#include <string>

#include "framework/checkpoint/safetensors.h"
#include "framework/roles/context.h"

namespace tessera {

// Component state -> TensorFile: tensors under prefix + name, texts as metadata under the same names.
class TESSERA_API StateWriter final : public StateVisitor {
 public:
  StateWriter(TensorFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}
  ~StateWriter() override;
  bool loading() const override { return false; }
  void tensor(const std::string& name, Tensor& value) override;
  void text(const std::string& name, std::string& value) override;

 private:
  TensorFile& file_;
  std::string prefix_;
};

// TensorFile -> component state. Throws CheckpointError, with path and name, for what is missing.
class TESSERA_API StateReader final : public StateVisitor {
 public:
  StateReader(const TensorFile& file, std::string prefix, std::string path)
      : file_(file), prefix_(std::move(prefix)), path_(std::move(path)) {}
  ~StateReader() override;
  bool loading() const override { return true; }
  void tensor(const std::string& name, Tensor& value) override;
  void text(const std::string& name, std::string& value) override;

 private:
  const TensorFile& file_;
  std::string prefix_, path_;
};

}  // namespace tessera
