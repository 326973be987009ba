#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "framework/checkpoint/safetensors.h"
#include "framework/nn/module.h"
#include "framework/train/options.h"
#include "tensor/ops/adamw/adamw.h"

namespace tessera {

// AdamW over named parameters, with gradient clipping and an optional exponential average of the weights.
class TESSERA_API Optimizer {
 public:
  using Named = std::vector<std::pair<std::string, Parameter*>>;
  Optimizer(Named parameters, const TrainOptions& options);

  // One update from the gradients that the tape left, summed over `accumulated` batches; clears them. Returns the
  // gradient norm before clipping. Parameters without a gradient stay. A norm that is not finite updates nothing and is
  // returned for the caller to stop at.
  double step(double learning_rate, int accumulated);
  std::int64_t steps() const { return steps_; }

  const Named& parameters() const { return parameters_; }
  // Exchanges the parameters' values with their averages (and back); nothing where no average is kept.
  void swap_average();

  // "optimizer/first/<name>", "optimizer/second/<name>", "optimizer/average/<name>"; the step count is metadata.
  void save(TensorFile& file) const;
  void load(const TensorFile& file, const std::string& path);

 private:
  Named parameters_;
  TrainOptions options_;
  std::vector<AdamWTensor> state_;
  std::vector<Tensor> average_;
  std::int64_t steps_ = 0;
};

// Copies named tensors between parameters and a file; names get the prefix. load throws CheckpointError, with path and
// name, for a tensor that is missing or has another shape or type.
TESSERA_API void save_parameters(const Optimizer::Named& parameters, const std::string& prefix, TensorFile& file);
TESSERA_API void load_parameters(const Optimizer::Named& parameters, const std::string& prefix, const TensorFile& file,
                                 const std::string& path);

}  // namespace tessera
