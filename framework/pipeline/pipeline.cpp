#include "framework/pipeline/pipeline.h"

#include <algorithm>
#include <filesystem>

#include "framework/catalog/index_file.h"
#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/safetensors.h"
#include "framework/checkpoint/state.h"
#include "framework/data/npy.h"
#include "framework/eval/slices.h"
#include "framework/train/trainer.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

const std::vector<std::string> kTopLevel = {
    "name",   "summary", "include", "plugins", "data",     "split", "featurizer", "tokenizer", "catalog",
    "health", "model",   "head",    "train",   "evaluate", "run",   "search"};  // read by `tessera search` alone

// Runs one reading step and keeps its problems, so that the user sees those of the whole file at once.
template <class F>
void gather(std::vector<std::string>& problems, F&& f) {
  try {
    f();
  } catch (const ConfigError& error) {
    problems.insert(problems.end(), error.problems().begin(), error.problems().end());
  } catch (const PluginError& error) {
    problems.push_back(error.what());
  }
}

template <class Options>
void read(const Config& config, const char* section, Options& options, std::vector<std::string>& problems) {
  gather(problems, [&] { options = config.section_or_empty(section).read<Options>(); });
}

std::string present(const std::map<std::string, ItemFeatures>& features) {
  std::string out;
  for (const auto& [name, values] : features) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none" : out;
}

}  // namespace

Pipeline::Pipeline(Config config, Registry& registry) : config_(std::move(config)), registry_(registry) {
  std::vector<std::string> problems;
  for (const auto& key : config_.top_level())
    if (std::find(kTopLevel.begin(), kTopLevel.end(), key) == kTopLevel.end())
      problems.push_back(str(config_.where(key), ": unknown section [", key, "]", suggestion(key, kTopLevel)));
  read(config_, "run", run, problems);
  read(config_, "split", split_options, problems);
  read(config_, "catalog", catalog_options, problems);
  read(config_, "health", health_options, problems);
  read(config_, "train", train_options, problems);
  read(config_, "evaluate", evaluate_options, problems);
  gather(problems, [&] {
    try {
      check_count_bounds(evaluate_options.item_counts);
    } catch (const ConfigError& error) {
      config_.section("evaluate").fail("item_counts", error.what());
    }
  });
  gather(problems, [&] { source_ = registry_.create<DataSource>(config_.section("data")); });
  for (const auto& section : config_.sections("featurizer"))
    gather(problems, [&] { featurizers_.push_back(registry_.create<Featurizer>(section)); });
  gather(problems, [&] { tokenizer_ = registry_.create<Tokenizer>(config_.section("tokenizer")); });
  gather(problems, [&] { model_ = registry_.create<Model>(config_.section("model")); });
  gather(problems, [&] { head_ = registry_.create<Head>(config_.section("head")); });
  check_neighbours(problems);
  if (!problems.empty()) throw ConfigError(problems);
}

Pipeline::~Pipeline() = default;

// What can be known before any data is read.
void Pipeline::check_neighbours(std::vector<std::string>& problems) const {
  if (model_ && head_) {
    gather(problems, [&] {
      const ModelSpec model = model_->spec();
      const HeadSpec head = head_->spec(model);
      const std::string pair =
          str("model '", config_.section("model").plugin(), "' and head '", config_.section("head").plugin(), "'");
      if (model.wants_item_vectors && !head.has_item_tower)
        problems.push_back(str(config_.section("head").where("plugin"), ": ", pair,
                               " do not fit: the model reads item vectors, the head has no item tower; "
                               "take a head with one, or let the model embed tokens"));
      if (model.attends_target && !head.needs_labels)
        problems.push_back(str(config_.section("head").where("plugin"), ": ", pair,
                               " do not fit: the model attends to the target and has states of candidates alone, which "
                               "only a head that scores candidates reads; take head click, or another model"));
    });
  }
  if (tokenizer_) {
    for (const auto& wanted : tokenizer_->modalities()) {
      const bool made =
          std::any_of(featurizers_.begin(), featurizers_.end(), [&](const auto& f) { return f->modality() == wanted; });
      if (!made)
        problems.push_back(str(config_.section("tokenizer").where("plugin"), ": the tokenizer reads modality '", wanted,
                               "', no [[featurizer]] makes it; add one with modality = \"", wanted, "\""));
    }
  }
}

std::string Pipeline::name() const { return config_.text("name", "unnamed"); }

void Pipeline::load_data(Rejects& rejects, FitContext& context) {
  context.rejects = &rejects;  // featurizers go on counting there: it must live as long as the context
  data_ = source_->load(rejects, context);
  if (config_.has("data.files")) {
    const Section files = config_.section("data.files");
    for (const auto& modality : files.keys()) data_.files[modality] = files.text(modality);
  }
  validate(data_);
  split(data_, split_options, static_cast<std::uint64_t>(run.seed));
}

void Pipeline::tokenize(FitContext& context) {
  for (const auto& featurizer : featurizers_) {
    context.say(str("featurizer: modality '", featurizer->modality(), "'"));
    featurizer->fit(data_, context);
    data_.features[featurizer->modality()] = featurizer->features(data_);
  }
  validate(data_);
  tokenizer_->fit(data_, context);
  tokens_ = tokenizer_->tokens(data_);
  make_catalog();
}

void Pipeline::make_catalog() {
  const CollisionPolicy policy = parse_collision_policy(catalog_options.policy);
  const Tensor distances = policy == CollisionPolicy::repair ? tokenizer_->last_level_distances(data_) : Tensor();
  const auto counts = train_counts(data_);
  catalog_ = std::make_unique<Catalog>(tokens_, policy, counts, distances);
  if (head_->spec(model_->spec()).needs_unique_items && !catalog_->unique())
    throw ConfigError(str(config_.section_or_empty("catalog").where("policy"),
                          ": the head needs unique identifiers, but several items share one under policy '",
                          catalog_options.policy, "'; take counter, popularity or repair"));
}

void Pipeline::save_tokenizer(const std::string& folder) const {
  TensorFile file;
  for (const auto& featurizer : featurizers_) {
    StateWriter writer(file, "featurizer." + featurizer->modality() + "/");
    featurizer->visit(writer);
  }
  StateWriter writer(file, "tokenizer/");
  tokenizer_->visit(writer);
  file.tensors["codes"] = Tensor::from(tokens_.codes, {tokens_.items(), tokens_.level_count()});
  if (tokens_.item_vectors) file.tensors["item_vectors"] = tokens_.item_vectors;
  if (tokens_.user_vectors) file.tensors["user_vectors"] = tokens_.user_vectors;
  const auto unique = catalog_->codes();
  const Tensor identifiers = Tensor::from(unique, {catalog_->items(), catalog_->levels()});
  file.tensors["identifiers"] = identifiers;
  file.metadata["levels"] = std::to_string(tokens_.level_count());
  for (int l = 0; l < tokens_.level_count(); ++l) {
    const TokenLevel& level = tokens_.levels[static_cast<std::size_t>(l)];
    const std::string key = str("level.", l, ".");
    file.metadata[key + "name"] = level.name;
    file.metadata[key + "codes"] = std::to_string(level.codes);
    file.metadata[key + "modality"] = level.modality;
  }
  file.metadata["data"] = fingerprint(data_);
  write_npy(folder + "/codes.npy", identifiers);
  write_atomically(folder + "/" + (data_.name.empty() ? "items" : data_.name) + ".index.json",
                   [&](std::ostream& out) { out << index_json(data_.items, *catalog_); });
  write_safetensors(folder + "/tokenizer.safetensors",
                    file);  // last: a resumed run takes it as the sign that all is there
}

void Pipeline::load_tokenizer(const std::string& folder) {
  const std::string path = folder + "/tokenizer.safetensors";
  const TensorFile file = read_safetensors(path, true);
  auto fact = [&](const std::string& key) {
    const auto it = file.metadata.find(key);
    if (it == file.metadata.end()) throw CheckpointError(str(path, ": '", key, "' is missing; tokenize again"));
    return it->second;
  };
  if (fact("data") != fingerprint(data_))
    throw CheckpointError(
        str(path, ": fitted on data ", fact("data"), ", this data set is ", fingerprint(data_), "; tokenize again"));
  for (const auto& featurizer : featurizers_) {
    StateReader reader(file, "featurizer." + featurizer->modality() + "/", path);
    featurizer->visit(reader);
  }
  StateReader reader(file, "tokenizer/", path);
  tokenizer_->visit(reader);
  const auto codes = file.tensors.find("codes");
  if (codes == file.tensors.end() || codes->second.shape().rank() != 2 || codes->second.dim(0) != data_.item_count())
    throw CheckpointError(str(path, ": no codes for ", data_.item_count(), " items; tokenize again"));
  tokens_ = {};
  const int levels = std::stoi(fact("levels"));
  for (int l = 0; l < levels; ++l) {
    const std::string key = str("level.", l, ".");
    tokens_.levels.push_back({fact(key + "name"), std::stoi(fact(key + "codes")), fact(key + "modality")});
  }
  const auto values = codes->second.values<std::int32_t>();
  tokens_.codes.assign(values.begin(), values.end());
  if (file.tensors.contains("item_vectors")) tokens_.item_vectors = file.tensors.at("item_vectors");
  if (file.tensors.contains("user_vectors")) tokens_.user_vectors = file.tensors.at("user_vectors");
  // Models of the graph may be built from features; models of histories know items by their codes alone.
  if (parse_collision_policy(catalog_options.policy) == CollisionPolicy::repair || !model_->spec().reads_histories)
    for (const auto& featurizer : featurizers_) data_.features[featurizer->modality()] = featurizer->features(data_);
  make_catalog();
}

void Pipeline::build() {
  const BuildContext context{data_, *catalog_, static_cast<std::uint64_t>(run.seed)};
  const ModelSpec spec = model_->spec();
  const HeadSpec head_spec = head_->spec(spec);
  if (head_spec.needs_labels && data_.interactions.label.empty())
    throw ConfigError(
        str(config_.section("head").where("plugin"), ": the head learns from labels (clicks), the data set has none"));
  head_->build(context, spec);
  model_->build(context, head_->item_tower());
  model_->initialize(context.seed, "model/");
  head_->initialize(context.seed, "head/");
}

void Pipeline::save_model(const std::string& folder) const {
  TensorFile file;
  save_parameters(named_parameters(*model_, *head_), "", file);
  file.metadata["identity"] = identity();
  write_safetensors(folder + "/model.safetensors", file);
}

void Pipeline::load_model(const std::string& folder) {
  const std::string path = folder + "/model.safetensors";
  load_parameters(named_parameters(*model_, *head_), "", read_safetensors(path, true), path);
}

std::vector<std::int32_t> Pipeline::encode(const Items& items, const ItemUsers& users) const {
  std::map<std::string, ItemFeatures> features;
  for (const auto& featurizer : featurizers_) features[featurizer->modality()] = featurizer->encode(items);
  for (const auto& wanted : tokenizer_->modalities())
    check(features.contains(wanted), "encode: the tokenizer reads modality '", wanted,
          "', present: ", present(features));
  if (users.user.empty()) return tokenizer_->encode(features);
  check(users.offset.size() == items.ids.size() + 1, "encode: users of ", users.offset.size() - 1, " items for ",
        items.ids.size(), " items");
  return tokenizer_->encode_taken(features, users);
}

HealthReport Pipeline::health() const { return measure_health(data_, *tokenizer_, tokens_, *catalog_, health_options); }

std::string Pipeline::identity() const {
  std::string text = fingerprint(data_) + "\n" + std::to_string(run.seed) + "\n";
  for (const char* section : {"split", "tokenizer", "catalog", "model", "head"})
    if (config_.has(section)) text += config_.section(section).toml() + "\n";
  for (const auto& section : config_.sections("featurizer")) text += section.toml() + "\n";
  text += str(train_options.batch_size, " ", train_options.accumulate, " ", train_options.subsequences, " ",
              train_options.bucket);
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(stream_of(text)));
  return hex;
}

std::string Pipeline::effective() const {
  Config all = config_;
  const auto add = [&](const char* role, const std::string& place, const Section& section) {
    const auto* component = registry_.find(role, section.plugin());
    if (component != nullptr) all = all.with_defaults(place, component->options);
  };
  add(DataSource::kRole, "data", config_.section("data"));
  const auto featurizers = config_.sections("featurizer");
  for (std::size_t i = 0; i < featurizers.size(); ++i) add(Featurizer::kRole, str("featurizer.", i), featurizers[i]);
  add(Tokenizer::kRole, "tokenizer", config_.section("tokenizer"));
  add(Model::kRole, "model", config_.section("model"));
  add(Head::kRole, "head", config_.section("head"));
  return all.with_defaults("split", describe_options<SplitOptions>())
      .with_defaults("catalog", describe_options<CatalogOptions>())
      .with_defaults("health", describe_options<HealthOptions>())
      .with_defaults("train", describe_options<TrainOptions>())
      .with_defaults("evaluate", describe_options<EvaluateOptions>())
      .with_defaults("run", describe_options<RunOptions>())
      .toml();
}

std::vector<std::string> Pipeline::plugins() const {
  std::vector<std::string> out;
  auto add = [&](const char* role, const Section& section) {
    const auto* component = registry_.find(role, section.plugin());
    if (component != nullptr)
      out.push_back(str(component->role, " ", component->name, " ", component->version, " from ", component->file));
  };
  add(DataSource::kRole, config_.section("data"));
  for (const auto& section : config_.sections("featurizer")) add(Featurizer::kRole, section);
  add(Tokenizer::kRole, config_.section("tokenizer"));
  add(Model::kRole, config_.section("model"));
  add(Head::kRole, config_.section("head"));
  return out;
}

}  // namespace tessera
