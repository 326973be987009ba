#pragma once

#include <string>

#include "framework/config/config.h"
#include "tools/cli/session.h"

namespace tessera::cli {

struct TrainPlan {
  std::string folder;
  bool resume = false, accept_tokenizer = false, skip_bad = false;
  std::string tokenizer_from;  // a folder with a fitted tokenizer, or empty
  bool test = true;            // evaluate on test when training is done
};

// Makes one run directory: tokenizer, training, and the evaluation on test where the plan says so.
void train_run(Session& session, const Config& config, const TrainPlan& plan);

// Evaluates a finished run on test and writes that into its directory, where it is not there already.
void test_run(Session& session, const std::string& folder, bool skip_bad);

// A number of a manifest's [metrics]; NaN where it is missing.
double metric_of(const Manifest& manifest, const std::string& name);

}  // namespace tessera::cli
