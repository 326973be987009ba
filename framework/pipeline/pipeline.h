#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/catalog/health.h"
#include "framework/data/split.h"
#include "framework/eval/evaluator.h"
#include "framework/pipeline/options.h"
#include "framework/plugin/registry.h"
#include "framework/roles/data_source.h"
#include "framework/roles/featurizer.h"
#include "framework/roles/head.h"
#include "framework/roles/tokenizer.h"
#include "framework/train/options.h"

namespace tessera {

// A merged configuration made into components. The steps follow one sentence and must be called in this order:
//   Pipeline pipeline(config, registry);   everything is checked, nothing is read or written
//   pipeline.load_data(rejects, context);  DataSource, validate, split
//   pipeline.tokenize(context);            Featurizers, Tokenizer, Catalog; or load_tokenizer(folder)
//   pipeline.build();                      Head and Model get their parameters
// Not thread-safe.
class TESSERA_API Pipeline {
 public:
  // Reads every section and makes every component. Throws one ConfigError with all problems of the files.
  Pipeline(Config config, Registry& registry);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  std::string name() const;
  const Config& config() const { return config_; }
  RunOptions run;
  SplitOptions split_options;
  CatalogOptions catalog_options;
  HealthOptions health_options;
  TrainOptions train_options;
  EvaluateOptions evaluate_options;

  void load_data(Rejects& rejects, FitContext& context);  // context.rejects becomes &rejects
  void tokenize(FitContext& context);
  void load_tokenizer(const std::string& folder);        // tokenizer.safetensors and codes of save_tokenizer()
  void save_tokenizer(const std::string& folder) const;  // tokenizer.safetensors, codes.npy, <dataset>.index.json
  void build();
  void save_model(const std::string& folder) const;  // model.safetensors
  void load_model(const std::string& folder);
  // Codes of items never seen: their vectors by every featurizer, and the users who took them already, where any did
  // (no offsets beyond the first: nobody).
  std::vector<std::int32_t> encode(const Items& items, const ItemUsers& users = {}) const;

  Dataset& data() { return data_; }
  const Dataset& data() const { return data_; }
  Tokenizer& tokenizer() const { return *tokenizer_; }
  const ItemTokens& tokens() const { return tokens_; }
  const Catalog& catalog() const { return *catalog_; }
  Model& model() const { return *model_; }
  Head& head() const { return *head_; }
  HealthReport health() const;  // of the fitted tokenizer

  // A hash of what weights depend on: data, split, featurizers, tokenizer, catalogue, model, head, batches and seed;
  // not of budgets, devices or evaluation.
  std::string identity() const;
  std::string effective()
      const;  // the configuration as TOML, with every option that the files leave out at its default
  std::vector<std::string> plugins() const;  // "tokenizer rq_vae 0.1 from FILE", what the run was made with

 private:
  void check_neighbours(std::vector<std::string>& problems) const;
  void make_catalog();

  Config config_;
  Registry& registry_;
  std::shared_ptr<DataSource> source_;
  std::vector<std::shared_ptr<Featurizer>> featurizers_;
  std::shared_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<Model> model_;
  std::shared_ptr<Head> head_;
  Dataset data_;
  ItemTokens tokens_;
  std::unique_ptr<Catalog> catalog_;
};

}  // namespace tessera
