// A grid over lists: every combination is a run directory, the best on validation is evaluated on test.
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <sstream>
#include <typeinfo>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "framework/train/trainer.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"
#include "tools/cli/train.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

constexpr std::size_t kMostRuns = 1000;

struct Plan {
  std::vector<std::string> files, settings;  // settings hold what all runs share: the split's seed, the gemm library
  std::string folder, metric;
  std::int64_t seed = 1, seeds = 1;
  bool on_test = false, accept_tokenizer = false, skip_bad = false;
};

struct Run {
  std::string name, failed;           // failed: why, or empty
  std::vector<std::string> values;    // of each key, as TOML
  std::vector<std::string> settings;  // "model.layers=2"
  Manifest manifest;
  double value = std::nan("");  // what it is chosen by
};

Config config_of(const Plan& plan, const std::vector<std::string>& more) {
  auto settings = plan.settings;
  settings.insert(settings.end(), more.begin(), more.end());
  return Config::load(plan.files, settings).without("search");
}

// What is measured must be the same in all runs.
void check_keys(const std::vector<Choices>& axes) {
  std::vector<std::string> problems;
  for (const auto& axis : axes) {
    const std::string section = axis.key.substr(0, axis.key.find('.'));
    for (const char* fixed_section : {"data", "split", "evaluate", "run", "search", "name", "include", "plugins"})
      if (section == fixed_section)
        problems.push_back(str(axis.where, ": '", axis.key, "' in [search] belongs to [", section,
                               "], which must be the same in all runs that are compared; take keys of featurizer, "
                               "tokenizer, catalog, model, head or train"));
    if (axis.key == "train.metric" || axis.key == "train.metric_decimals")
      problems.push_back(
          str(axis.where, ": '", axis.key, "' in [search]: runs are compared by one metric; set it once"));
  }
  if (!problems.empty()) throw ConfigError(problems);
}

// A folder's name that tells the settings, without the commas that `tessera compare --group` cuts at: plain letters
// stay, and where something else was left out a hash follows.
std::string folder_name(const std::vector<std::string>& settings) {
  std::string all, out;
  bool changed = false;
  for (const auto& setting : settings) all += (all.empty() ? "" : "__") + setting;
  for (const char c : all) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) || std::string_view("._+-=").find(c) != std::string_view::npos;
    if (plain) out += c;
    else changed = changed || c != '"';
  }
  if (!changed && out.size() <= 120) return out;
  char hex[10];
  std::snprintf(hex, sizeof hex, "-%08x", static_cast<unsigned>(stream_of(all)));
  return out.substr(0, 100) + hex;
}

std::vector<Run> combinations(const std::vector<Choices>& axes) {
  std::size_t count = 1;
  for (const auto& axis : axes) {
    count *= axis.values.size();
    if (count > kMostRuns)
      throw ConfigError(str(axes[0].where, ": the lists of [search] have more than ", kMostRuns,
                            " combinations; shorten them, or search in two steps"));
  }
  std::vector<Run> runs(1);
  for (const auto& axis : axes) {
    std::vector<Run> longer;
    for (const Run& run : runs)
      for (const auto& value : axis.values) {
        longer.push_back(run);
        longer.back().values.push_back(value);
        longer.back().settings.push_back(axis.key + "=" + value);
      }
    runs = std::move(longer);
  }
  for (Run& run : runs) run.name = folder_name(run.settings);
  return runs;
}

// Every combination is read before the first one trains.
void check_runs(Session& session, const Plan& plan, const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    const Pipeline pipeline(config_of(plan, run.settings), session.registry);
    if (pipeline.train_options.valid_every == 0)
      throw ConfigError(str(pipeline.config().section_or_empty("train").where("valid_every"),
                            ": valid_every is 0, but a search chooses on validation; expected 1 or more"));
  }
}

// What all runs of the folder share, so that a search goes on only where it would have gone.
std::string shared_text(const Plan& plan) {
  return config_of(plan, {"run.threads=0", "run.out=\"\"", "run.gemm=\"auto\""}).toml();
}

std::string first_difference(const std::string& a, const std::string& b) {
  std::istringstream old_lines(a), new_lines(b);
  std::string was, is;
  while (true) {
    const bool more = static_cast<bool>(std::getline(old_lines, was)),
               other = static_cast<bool>(std::getline(new_lines, is));
    if (!more && !other) return "";
    if (!more) was = "nothing";
    if (!other) is = "nothing";
    if (was != is) return str("there ", was, ", now ", is);
  }
}

// Begins the folder, or reads what it was begun with: the library of matrix products stays the same.
void open_folder(Plan& plan) {
  const std::string path = plan.folder + "/search.toml", text = shared_text(plan);
  if (is_run_directory(plan.folder))
    throw UsageError(str("tessera search: ", plan.folder, " is the directory of one run; take another --out"));
  std::string gemm = gemm_backend_name();
  if (std::filesystem::exists(path)) {
    const Config facts = Config::load({path});
    const std::string was = facts.text("config", "");
    if (was != text)
      throw UsageError(str("tessera search: ", plan.folder, " holds a search with another pipeline or configuration (",
                           first_difference(was, text), "); take the same ones or another --out"));
    gemm = facts.text("gemm", gemm);
  } else {
    std::filesystem::create_directories(plan.folder);
    write_atomically(path, [&](std::ostream& out) {
      out << "gemm = " << json_text(gemm) << "\nconfig = " << json_text(text) << '\n';
    });
  }
  plan.settings.push_back("run.gemm=\"" + gemm + "\"");
}

// Runs that fit the same tokenizer to the same data share it.
std::string tokenizer_key(const Config& config) {
  std::string key = config.section("data").toml();
  for (const char* section : {"split", "tokenizer", "health", "run"})
    key += "\n" + config.section_or_empty(section).toml();
  for (const auto& section : config.sections("featurizer")) key += "\n" + section.toml();
  return key;
}

class Searcher {
 public:
  Searcher(Session& session, const Plan& plan) : session_(session), plan_(plan) {}

  std::string folder(const Run& run) const { return plan_.folder + "/" + run.name; }

  // Trains what is not finished. A run that fails is told and passed over: one learning rate too many ends no search.
  void train(Run& run) {
    const std::string path = folder(run);
    const Config config = config_of(plan_, run.settings);
    const std::string key = tokenizer_key(config);
    if (!is_run_directory(path) || read_manifest(path).state != "finished") {
      const auto found = tokenizers_.find(key);
      try {
        train_run(session_, config,
                  {path, true, plan_.accept_tokenizer, plan_.skip_bad, found == tokenizers_.end() ? "" : found->second,
                   false});
      } catch (const Stopped&) {
        throw Stopped("stopped; the same command goes on");
      } catch (const Error& error) {
        const bool its_own = typeid(error) == typeid(Error);  // a loss that is not finite, a tokenizer that fails
        if (!its_own) throw;
        run.failed = error.what();
      }
      session_.log_to(plan_.folder);
      if (!run.failed.empty()) {
        session_.say(str("run ", run.name, " failed: ", run.failed));
        return;
      }
    } else {
      session_.say(str("run ", run.name, " is finished already"));
    }
    tokenizers_.emplace(key, path);
    if (plan_.on_test) test(run);
    run.manifest = read_manifest(path);
    run.value = metric_of(run.manifest, (plan_.on_test ? "test/" : "valid/") + plan_.metric);
    if (std::isnan(run.value)) run.failed = str("it has no ", plan_.metric, " (too few epochs for a validation?)");
  }

  void test(Run& run) {
    test_run(session_, folder(run), plan_.skip_bad);
    run.manifest = read_manifest(folder(run));
  }

 private:
  Session& session_;
  const Plan& plan_;
  std::map<std::string, std::string> tokenizers_;
};

// The best run; ties go to the first.
std::size_t best_of(const std::vector<Run>& runs, const std::string& metric) {
  std::size_t best = runs.size();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (std::isnan(runs[i].value)) continue;
    const bool better = best == runs.size() || (smaller_is_better(metric) ? runs[i].value < runs[best].value
                                                                          : runs[i].value > runs[best].value);
    if (better) best = i;
  }
  if (best == runs.size()) throw Error("search: no run succeeded; the first: " + runs[0].failed);
  return best;
}

std::vector<std::vector<std::string>> run_rows(const Plan& plan, const std::vector<Choices>& axes,
                                               const std::vector<Run>& runs, std::size_t best) {
  const std::string valid = "valid/" + plan.metric, test = "test/" + plan.metric;
  std::vector<std::vector<std::string>> rows(1);
  for (const auto& axis : axes) rows[0].push_back(axis.key);
  rows[0].push_back(valid);
  if (plan.on_test) rows[0].push_back(test);
  rows[0].insert(rows[0].end(), {"best epoch", "seconds an epoch", "parameters", "chosen"});
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto number = [&](const std::string& name, int digits) {
      return fixed(metric_of(runs[i].manifest, name), digits);
    };
    auto row = runs[i].values;
    row.push_back(number(valid, 4));
    if (plan.on_test) row.push_back(number(test, 4));
    row.insert(row.end(), {number("best_epoch", 0), number("seconds_an_epoch", 3), number("parameters", 0),
                           i == best                ? "best"
                           : runs[i].failed.empty() ? ""
                                                    : "failed"});
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

// Mean and deviation over the seeds.
struct Spread {
  double mean = 0, deviation = 0;
};
std::map<std::string, Spread> test_metrics(const std::vector<Run>& runs) {
  std::map<std::string, Spread> out;
  for (const auto& [name, first] : runs[0].manifest.metrics) {
    if (!name.starts_with("test/")) continue;
    Spread spread;
    for (const Run& run : runs) spread.mean += metric_of(run.manifest, name) / static_cast<double>(runs.size());
    for (const Run& run : runs) spread.deviation += std::pow(metric_of(run.manifest, name) - spread.mean, 2);
    if (runs.size() > 1) spread.deviation = std::sqrt(spread.deviation / static_cast<double>(runs.size() - 1));
    out[name] = spread;
  }
  return out;
}

void write_result(const Plan& plan, const Searcher& searcher, const std::vector<Choices>& axes,
                  const std::vector<Run>& winners, const std::map<std::string, Spread>& metrics) {
  write_atomically(plan.folder + "/result.json", [&](std::ostream& out) {
    out << "{\"metric\":" << json_text(plan.metric) << ",\"selected_on\":\"" << (plan.on_test ? "test" : "validation")
        << "\",\"settings\":[";
    for (std::size_t i = 0; i < axes.size(); ++i)
      out << (i ? "," : "") << json_text(axes[i].key + "=" + winners[0].values[i]);
    out << "],\"runs\":[";
    for (std::size_t i = 0; i < winners.size(); ++i) out << (i ? "," : "") << json_text(searcher.folder(winners[i]));
    out << "],\"test\":{";
    bool first = true;
    for (const auto& [name, spread] : metrics) {
      out << (first ? "" : ",") << json_text(name) << ":[" << json_number(spread.mean) << ","
          << json_number(spread.deviation) << "]";
      first = false;
    }
    out << "}}\n";
  });
}

std::string result_text(const Plan& plan, const std::vector<Run>& winners,
                        const std::map<std::string, Spread>& metrics) {
  std::vector<std::vector<std::string>> rows{{"test, best run", winners.size() > 1 ? "mean" : "value"}};
  if (winners.size() > 1) rows[0].push_back("deviation");
  for (const auto& [name, spread] : metrics) {
    rows.push_back({name.substr(5), fixed(spread.mean)});
    if (winners.size() > 1) rows.back().push_back(fixed(spread.deviation));
  }
  std::string out = table(rows);
  if (plan.on_test)
    out +=
        "Selected on test, as MMRec's report does: these figures are of the data that they were chosen by, and too "
        "good for new data.\n";
  else out += str("Selected on validation by ", plan.metric, "; test was seen once, by the best run.\n");
  return out;
}

void search(Session& session, Plan& plan, const std::vector<Choices>& axes) {
  std::vector<Run> runs = combinations(axes);
  check_runs(session, plan, runs);
  session.open(config_of(plan, {}));  // threads and the library of matrix products
  open_folder(plan);
  session.log_to(plan.folder);
  Searcher searcher(session, plan);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    session.say(str("search: run ", i + 1, " of ", runs.size(), ", ", runs[i].name));
    searcher.train(runs[i]);
  }
  const std::size_t best = best_of(runs, plan.metric);
  const auto rows = run_rows(plan, axes, runs, best);
  write_atomically(plan.folder + "/table.csv", [&](std::ostream& out) {
    for (const auto& row : rows)
      for (std::size_t i = 0; i < row.size(); ++i) out << csv_cell(row[i]) << (i + 1 < row.size() ? ',' : '\n');
  });
  std::cout << table(rows) << std::flush;

  std::vector<Run> winners{runs[best]};
  searcher.test(winners[0]);
  for (std::int64_t s = 1; s < plan.seeds; ++s) {
    Run run = runs[best];
    run.settings.push_back(str("run.seed=", plan.seed + s));
    run.name = folder_name(run.settings);
    session.say(str("search: the best run with seed ", plan.seed + s));
    searcher.train(run);
    if (!run.failed.empty()) throw Error(str("search: the best run fails with seed ", plan.seed + s, ": ", run.failed));
    searcher.test(run);
    winners.push_back(std::move(run));
  }
  const auto metrics = test_metrics(winners);
  write_result(plan, searcher, axes, winners, metrics);
  std::cout << result_text(plan, winners, metrics);
  for (const Run& run : winners) std::cout << searcher.folder(run) << "\n";
}

}  // namespace

int run_search(const std::vector<std::string>& words) {
  Arguments arguments("search");
  add_pipeline_options(arguments);
  arguments.options()("out", po::value<std::string>(),
                      "folder of the search (default: [run] out, else runs/<pipeline name>_search); a search that is "
                      "there goes on")("seeds", po::value<std::int64_t>()->default_value(1),
                                       "train the best run with so many seeds, counted up from run.seed")(
      "select-on-test",
      "choose by the test metric, as MMRec's report does; for comparison with published numbers alone")(
      "accept-tokenizer", "train although a tokenizer's health report says FAIL");
  if (!arguments.parse(words)) return 0;
  Plan plan;
  plan.files = arguments.words(1, 100);
  plan.settings = arguments.texts("set");
  plan.on_test = arguments.has("select-on-test");
  plan.accept_tokenizer = arguments.has("accept-tokenizer");
  plan.skip_bad = arguments.has("skip-bad");
  plan.seeds = arguments.get<std::int64_t>("seeds");
  if (plan.seeds < 1 || plan.seeds > 1000)
    throw UsageError(str("tessera search: --seeds is ", plan.seeds, ", expected 1 to 1000"));
  const Config config = Config::load(plan.files, plan.settings);
  const auto axes = config.choices("search");
  check_keys(axes);
  Session session(arguments.texts("plugin-dir"));
  for (const auto& name : config.texts("plugins")) session.loader.load_by_name(name);
  const Pipeline base(config_of(plan, {}), session.registry);
  plan.seed = base.run.seed;
  plan.metric = base.train_options.metric;
  if (base.split_options.seed == 0 && plan.seed > 0) plan.settings.push_back(str("split.seed=", plan.seed));
  plan.folder = arguments.text("out");
  if (plan.folder.empty())
    plan.folder = !base.run.out.empty() ? base.run.out : "runs/" + config.text("name", "run") + "_search";
  search(session, plan, axes);
  return 0;
}

}  // namespace tessera::cli
