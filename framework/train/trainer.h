#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "framework/data/batches.h"
#include "framework/eval/evaluator.h"
#include "framework/roles/context.h"
#include "framework/roles/head.h"
#include "framework/train/metrics_log.h"
#include "framework/train/optimizer.h"
#include "framework/train/options.h"

namespace tessera {

struct TrainResult {
  std::int64_t steps = 0;
  std::int64_t best_epoch = 0;  // 0: never validated
  double best_metric = 0;
  double seconds = 0;        // of this call
  double epoch_seconds = 0;  // of this call's steps without validations, scaled to an epoch; 0: no step was taken
  bool interrupted = false;  // a stop was requested; a checkpoint was written
  std::string reason;        // why it ended, as a sentence
};

// Trains a model and a head on the training part; validates, stops early, keeps the best weights. When run() returns,
// the modules hold the selected weights. State lies in <folder>/checkpoint.safetensors (and the one before in
// checkpoint.previous.safetensors), written atomically every checkpoint_steps steps, after each validation and when a
// stop is requested. Step s is a pure function of (seed, s, weights), so a resumed run ends with the same bits as one
// that was never broken.
class TESSERA_API Trainer {
 public:
  // identity: what a checkpoint must agree with to be resumed (a hash of pipeline, data and seed).
  Trainer(Model& model, Head& head, const Dataset& data, const TrainOptions& options, const EvaluateOptions& evaluation,
          std::uint64_t seed, std::string folder, std::string identity);

  std::int64_t steps_per_epoch() const;
  std::int64_t total_steps() const;
  // resume: go on from the newest good checkpoint in the folder; without one, from the start.
  // Throws Error for a loss or gradient that is not finite, with step, batch and norms; the last good checkpoint stays.
  TrainResult run(bool resume, FitContext& context);
  // Forward and backward of one batch; gradients are added to the parameters'. Returns the loss. For dry runs and
  // tests.
  double gradient_of_batch(std::int64_t epoch, std::int64_t index);
  const MetricsLog& metrics() const { return log_; }

 private:
  struct Progress {
    double epoch_loss = 0;  // sum over the epoch's steps so far
    double best_metric = 0;
    std::int64_t best_epoch = 0, bad_validations = 0;
    bool finished = false;
    std::string reason;
  };
  double take_step(std::int64_t step);
  void end_epoch(std::int64_t epoch, FitContext& context);
  void validate(std::int64_t epoch, MetricsLog::Row& row, FitContext& context);
  void save_checkpoint() const;
  bool load_checkpoint(FitContext& context);
  void load_from(const std::string& path, const TensorFile& file);
  void keep_best();

  Model& model_;
  Head& head_;
  const Dataset& data_;
  TrainOptions options_;
  EvaluateOptions evaluation_;
  std::uint64_t seed_;
  std::string folder_, identity_;
  ModelSpec spec_;
  Batches batches_;
  Optimizer optimizer_;
  MetricsLog log_;
  Progress progress_;
  std::int64_t begun_epoch_ = -1;
  std::vector<Tensor> best_;
  double last_rate_ = 0, last_norm_ = 0;
};

// Whether a metric is better where it is smaller: log losses and calibration errors.
TESSERA_API bool smaller_is_better(const std::string& metric);

// "model/..." and "head/..." of both modules.
TESSERA_API Optimizer::Named named_parameters(Model& model, Head& head);

}  // namespace tessera
