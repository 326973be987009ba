#include <sys/resource.h>

#include <cmath>
#include <filesystem>
#include <iostream>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "framework/train/trainer.h"
#include "tensor/core/parallel.h"
#include "tensor/gemm/gemm.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"
#include "tools/cli/session.h"
#include "tools/cli/train.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

Manifest manifest_of(const Pipeline& pipeline) {
  Manifest m;
  m.version = TESSERA_VERSION;
  m.pipeline = pipeline.name();
  m.data = pipeline.data().name;
  m.data_hash = fingerprint(pipeline.data());
  m.identity = pipeline.identity();
  m.gemm = gemm_backend_name();
  m.state = "training";
  m.seed = pipeline.run.seed;
  m.threads = threads();
  m.plugins = pipeline.plugins();
  m.config = pipeline.config().toml();
  m.effective = pipeline.effective();
  return m;
}

// Largest resident size of the process so far, in MiB.
long peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

void prepare_folder(const TrainPlan& plan) {
  const bool there = is_run_directory(plan.folder);
  if (there && !plan.resume)
    throw UsageError(
        str("tessera train: ", plan.folder, " holds a run already; go on with --resume, or take another --out"));
  std::filesystem::create_directories(plan.folder);
}

// The tokenizer of this run: from an earlier start of the run, from another folder, or fitted now.
void make_tokenizer(Session& session, Pipeline& pipeline, const TrainPlan& plan, FitContext& context) {
  const bool earlier = plan.resume && std::filesystem::exists(plan.folder + "/tokenizer.safetensors");
  if (earlier || !plan.tokenizer_from.empty()) {
    pipeline.load_tokenizer(earlier ? plan.folder : plan.tokenizer_from);
    if (!earlier) pipeline.save_tokenizer(plan.folder);
    return;
  }
  pipeline.tokenize(context);
  const HealthReport health = pipeline.health();
  session.say(health.table());
  write_atomically(plan.folder + "/health.json", [&](std::ostream& out) { out << health.json() << '\n'; });
  if (!health.passed() && !plan.accept_tokenizer)
    throw Error(
        "train: the tokenizer's health report says FAIL (above, and in " + plan.folder +
        "/health.json); change its options or the [health] thresholds, or train anyway with --accept-tokenizer");
  pipeline.save_tokenizer(plan.folder);
}

// Evaluates on test: metrics into the manifest, users' numbers into files, words for the user.
void add_test(Session& session, const Pipeline& pipeline, const std::string& folder, Manifest& manifest) {
  const Evaluation test = evaluate(pipeline.model(), pipeline.head(), pipeline.data(), Part::test,
                                   pipeline.evaluate_options, pipeline.model().spec().max_items);
  for (const auto& name : test.names) manifest.metrics.emplace_back("test/" + name, test.mean.at(name));
  const auto lines = write_evaluation(folder, "test", test, pipeline.data());
  write_manifest(folder, manifest);
  session.say(evaluation_table(test));
  if (!lines.empty()) session.say(sanity_table(lines, test.impressions.offset, test.impressions.label));
}

}  // namespace

void train_run(Session& session, const Config& config, const TrainPlan& plan) {
  auto pipeline = session.open(config);
  FitContext context = session.context(static_cast<std::uint64_t>(pipeline->run.seed));
  prepare_folder(plan);
  session.log_to(plan.folder);
  Rejects rejects(plan.skip_bad);
  pipeline->load_data(rejects, context);
  session.say(data_line(pipeline->data(), rejects.count()));
  make_tokenizer(session, *pipeline, plan, context);
  pipeline->build();
  Manifest manifest = manifest_of(*pipeline);
  write_manifest(plan.folder, manifest);
  session.say(str("model ", pipeline->model().parameter_count(), " parameters, head ",
                  pipeline->head().parameter_count(), "; gemm ", manifest.gemm, ", ", manifest.threads,
                  " threads, seed ", manifest.seed));

  const ModelSpec spec = pipeline->model().spec();
  const auto longer = long_histories_line(pipeline->data(), spec.reads_histories ? spec.max_items : 0,
                                          pipeline->head().spec(spec).form == BatchForm::each_item);
  if (!longer.empty()) session.say(longer);

  Trainer trainer(pipeline->model(), pipeline->head(), pipeline->data(), pipeline->train_options,
                  pipeline->evaluate_options, static_cast<std::uint64_t>(pipeline->run.seed), plan.folder,
                  manifest.identity);
  const TrainResult result = trainer.run(plan.resume, context);
  session.say(str("training: ", result.reason, " (", result.steps, " steps, ", static_cast<int>(result.seconds + 0.5),
                  " s, peak memory ", peak_memory(), " MiB)"));
  if (result.interrupted) throw Stopped("stopped; go on with the same command and --resume");

  pipeline->save_model(plan.folder);
  manifest.steps = result.steps;
  manifest.state = "finished";
  if (result.best_epoch > 0) {
    manifest.metrics.emplace_back("best_epoch", static_cast<double>(result.best_epoch));
    manifest.metrics.emplace_back("valid/" + pipeline->train_options.metric, result.best_metric);
  }
  manifest.metrics.emplace_back(
      "parameters", static_cast<double>(pipeline->model().parameter_count() + pipeline->head().parameter_count()));
  if (result.epoch_seconds > 0) manifest.metrics.emplace_back("seconds_an_epoch", result.epoch_seconds);
  if (plan.test) add_test(session, *pipeline, plan.folder, manifest);
  else write_manifest(plan.folder, manifest);
}

double metric_of(const Manifest& manifest, const std::string& name) {
  for (const auto& [key, value] : manifest.metrics)
    if (key == name) return value;
  return std::nan("");
}

void test_run(Session& session, const std::string& folder, bool skip_bad) {
  Manifest manifest = read_manifest(folder);
  for (const auto& [name, value] : manifest.metrics)
    if (name.starts_with("test/")) return;
  const auto pipeline = session.open_run(folder, {}, skip_bad);
  add_test(session, *pipeline, folder, manifest);
}

int run_train(const std::vector<std::string>& words) {
  Arguments arguments("train");
  add_pipeline_options(arguments);
  arguments.options()("out", po::value<std::string>(), "run directory (default: [run] out, else runs/<pipeline name>)")(
      "resume", "go on from the newest good checkpoint of the run directory")(
      "accept-tokenizer", "train although the health report says FAIL")(
      "tokenizer", po::value<std::string>(),
      "take the fitted tokenizer of this folder (of `tessera tokenize` or a run)");
  if (!arguments.parse(words)) return 0;
  const auto files = arguments.words(1, 100);
  Session session(arguments.texts("plugin-dir"));
  TrainPlan plan{"", arguments.has("resume"), arguments.has("accept-tokenizer"), arguments.has("skip-bad"),
                 arguments.text("tokenizer")};
  std::vector<std::string> settings = arguments.texts("set");
  Config config = Config::load(files, settings);
  plan.folder = arguments.text("out");
  if (plan.folder.empty())
    plan.folder = config.has("run") && config.section("run").has("out") ? config.section("run").text("out")
                                                                        : "runs/" + config.text("name", "run");
  if (plan.resume &&
      is_run_directory(plan.folder)) {  // the library of matrix products must be the one that the run began with
    settings.insert(settings.begin(), "run.gemm=\"" + read_manifest(plan.folder).gemm + "\"");
    config = Config::load(files, settings);
  }
  train_run(session, config, plan);
  std::cout << plan.folder << "\n";
  return 0;
}

int run_tokenize(const std::vector<std::string>& words) {
  Arguments arguments("tokenize");
  add_pipeline_options(arguments);
  arguments.options()("out", po::value<std::string>(),
                      "folder for tokenizer.safetensors, codes.npy, the index and health.json");
  arguments.options()("json", "print the health report as JSON");
  if (!arguments.parse(words)) return 0;
  Session session(arguments.texts("plugin-dir"));
  auto pipeline = session.open(Config::load(arguments.words(1, 100), arguments.texts("set")));
  FitContext context = session.context(static_cast<std::uint64_t>(pipeline->run.seed));
  Rejects rejects(arguments.has("skip-bad"));
  pipeline->load_data(rejects, context);
  session.say(data_line(pipeline->data(), rejects.count()));
  pipeline->tokenize(context);
  const HealthReport health = pipeline->health();
  std::cout << (arguments.has("json") ? health.json() : health.table()) << "\n";
  if (const std::string folder = arguments.text("out"); !folder.empty()) {
    std::filesystem::create_directories(folder);
    pipeline->save_tokenizer(folder);
    write_atomically(folder + "/health.json", [&](std::ostream& out) { out << health.json() << '\n'; });
    session.say("written to " + folder);
  }
  return health.passed() ? 0 : 1;
}

}  // namespace tessera::cli
