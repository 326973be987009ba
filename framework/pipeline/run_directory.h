#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/eval/click_baselines.h"
#include "framework/eval/evaluator.h"
#include "tensor/core/export.h"

namespace tessera {

// The facts of a run, <folder>/manifest.toml: what made it, from what, with which result. Written atomically.
struct Manifest {
  std::string version, pipeline, data, data_hash, identity, gemm, state;  // state: "training" or "finished"
  std::int64_t seed = 0, threads = 0, steps = 0;
  std::vector<std::string> plugins;
  std::vector<std::pair<std::string, double>> metrics;  // "test/NDCG@10" ...
  std::string config;                                   // the merged pipeline and configuration, as the files say it
  std::string effective;                                // the same with all defaults, for readers
};
TESSERA_API void write_manifest(const std::string& folder, const Manifest& manifest);
TESSERA_API Manifest read_manifest(const std::string& folder);  // throws Error where the folder is no run directory
TESSERA_API bool is_run_directory(const std::string& folder);

// <folder>/per_user.<part>.csv: user, then one column a metric; what paired tests read.
struct PerUser {
  std::vector<std::string> users;
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> values;
};
TESSERA_API void write_per_user(const std::string& path, const Evaluation& evaluation, const Dataset& data);
TESSERA_API PerUser read_per_user(const std::string& path);

// <folder>/impressions.<part>.csv: user, item, label, score (the logit), then the sanity lines' logits; what tests of
// AUC read. Users stand together.
struct ImpressionFile {
  std::vector<std::string> user, item;
  std::vector<std::int64_t> offset{0};  // by user
  std::vector<float> label;
  std::vector<std::string> names;  // "score", "item_mean", ...
  std::map<std::string, std::vector<float>> scores;
};
TESSERA_API void write_impressions(const std::string& path, const Impressions& impressions,
                                   const std::vector<SanityLine>& lines, const Dataset& data);
TESSERA_API ImpressionFile read_impressions(const std::string& path);
// <folder>/reliability.<part>.csv: one line a bin.
TESSERA_API void write_reliability(const std::string& path, const std::vector<ReliabilityBin>& bins);

// All files of an evaluation: per_user, and where clicks were scored, impressions with the sanity lines that it
// returns, and reliability.
TESSERA_API std::vector<SanityLine> write_evaluation(const std::string& folder, const std::string& split,
                                                     const Evaluation& evaluation, const Dataset& data);

}  // namespace tessera
