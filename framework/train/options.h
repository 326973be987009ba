#pragma once

#include <cstdint>
#include <string>

#include "framework/config/config.h"

namespace tessera {

// [train] of the configuration.
struct TrainOptions {
  int epochs = 50;
  std::int64_t max_steps = 0;
  double max_minutes = 0.0;
  int batch_size = 256;
  int accumulate = 1;
  bool subsequences = false;
  bool bucket = true;
  double learning_rate = 1e-3;
  std::string schedule = "constant";
  std::int64_t warmup_steps = 0;
  double final_rate = 0.0;
  double weight_decay = 0.0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double clip_norm = 0.0;
  double average = 0.0;
  int valid_every = 1;
  int patience = 10;
  std::string metric = "NDCG@10";
  int metric_decimals = 0;
  std::int64_t checkpoint_steps = 500;

  template <class V>
  void describe(V& v) {
    v("epochs", epochs, "passes over the training data", 1, 1000000);
    v("max_steps", max_steps, "stop after so many steps; 0: no limit", 0, 1000000000);
    v("max_minutes", max_minutes,
      "stop after so many minutes of training (the result then depends on the machine); 0: no limit", 0.0, 1e6);
    v("batch_size", batch_size, "users or samples a batch", 1, 1000000);
    v("accumulate", accumulate, "batches whose gradients make one step", 1, 10000);
    v("subsequences", subsequences, "train on sub-sequences too: random crops, or a sample for each position");
    v("bucket", bucket, "group users of like length into batches");
    v("learning_rate", learning_rate, "peak learning rate", 1e-9, 100.0);
    v("schedule", schedule, "after the warm-up", {"constant", "cosine", "inverse_sqrt"});
    v("warmup_steps", warmup_steps, "steps of linear warm-up", 0, 100000000);
    v("final_rate", final_rate, "cosine: share of the peak that is left at the end", 0.0, 1.0);
    v("weight_decay", weight_decay, "AdamW's decoupled decay; biases, norms and tables that say so are spared", 0.0,
      10.0);
    v("beta1", beta1, "decay of the first moment", 0.0, 0.9999);
    v("beta2", beta2, "decay of the second moment", 0.0, 0.99999);
    v("epsilon", epsilon, "AdamW's epsilon", 0.0, 1.0);
    v("clip_norm", clip_norm, "largest global gradient norm; 0: no clipping", 0.0, 1e9);
    v("average", average,
      "decay of an exponential average of the weights, which is then what is validated and saved; 0: none", 0.0,
      0.99999);
    v("valid_every", valid_every, "epochs between validations; 0: none, the last weights are kept", 0, 1000000);
    v("patience", patience, "validations without a better metric before training stops", 1, 1000000);
    v("metric", metric, "validation metric that selects the weights, e.g. NDCG@10 or unseen/Recall@20");
    v("metric_decimals", metric_decimals,
      "decimals that count when validations are compared (MMRec compares 4); 0: all of them", 0, 12);
    v("checkpoint_steps", checkpoint_steps, "steps between checkpoints", 1, 1000000000);
  }
};

}  // namespace tessera
