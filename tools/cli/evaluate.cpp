#include <iostream>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"
#include "tools/cli/session.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

// One JSON line a user and protocol: {"user": .., "seen_excluded": .., "items": [..], "targets": [..]} with original
// ids.
class ListFile {
 public:
  ListFile(std::ostream& out, const Dataset& data) : out_(out), data_(data) {}

  void operator()(const Questions& questions, const Ranking& ranking, bool seen_excluded) const {
    for (std::int64_t b = 0; b < questions.histories.rows(); ++b) {
      const auto row = static_cast<std::size_t>(b);
      out_ << "{\"user\":" << json_text(data_.user_ids[static_cast<std::size_t>(questions.histories.user[row])])
           << ",\"seen_excluded\":" << (seen_excluded ? "true" : "false") << ",\"items\":";
      list({ranking.item.begin() + b * ranking.k, ranking.item.begin() + (b + 1) * ranking.k});
      out_ << ",\"targets\":";
      list({questions.target.begin() + questions.target_offset[row],
            questions.target.begin() + questions.target_offset[row + 1]});
      out_ << "}\n";
    }
  }

 private:
  void list(const std::vector<std::int32_t>& items) const {
    out_ << '[';
    bool first = true;
    for (const auto item : items) {
      if (item < 0) continue;
      out_ << (first ? "" : ",") << json_text(data_.items.ids[static_cast<std::size_t>(item)]);
      first = false;
    }
    out_ << ']';
  }
  std::ostream& out_;
  const Dataset& data_;
};

}  // namespace

int run_evaluate(const std::vector<std::string>& words) {
  Arguments arguments("evaluate");
  add_pipeline_options(arguments);
  arguments.options()("split", po::value<std::string>()->default_value("test"), "test or valid")(
      "lists", po::value<std::string>(), "write every user's top list and targets to this file, as JSON lines")(
      "baseline", po::value<std::string>(),
      "evaluate a reference instead of the model: popularity, or of clicks: item_mean, "
      "logistic")("json", "print JSON");
  if (!arguments.parse(words)) return 0;
  const std::string folder = arguments.words(1, 1)[0], split = arguments.text("split"),
                    baseline = arguments.text("baseline");
  if (split != "test" && split != "valid")
    throw UsageError(str("tessera evaluate: --split is '", split, "', expected test or valid"));
  if (!baseline.empty() && baseline != "popularity" && baseline != "item_mean" && baseline != "logistic")
    throw UsageError(
        str("tessera evaluate: --baseline is '", baseline, "', expected popularity, item_mean or logistic"));
  Session session(arguments.texts("plugin-dir"));
  auto pipeline = session.open_run(folder, arguments.texts("set"), arguments.has("skip-bad"));
  const Part part = split == "test" ? Part::test : Part::valid;
  const std::int64_t max_items = pipeline->model().spec().max_items;

  const auto measure = [&](const ListSink& lists) {
    if (baseline == "item_mean" || baseline == "logistic") {
      Impressions impressions = impressions_of(pipeline->data(), part);
      for (auto& line : sanity_lines(pipeline->data(), impressions))
        if (line.name == baseline) impressions.score = std::move(line.score);
      return evaluate_scores(std::move(impressions), pipeline->data(), part, pipeline->evaluate_options,
                             "by the sanity line " + baseline);
    }
    if (!baseline.empty())
      return evaluate(popularity_ranker(pipeline->data()), pipeline->data(), part, pipeline->evaluate_options,
                      max_items, lists);
    return evaluate(pipeline->model(), pipeline->head(), pipeline->data(), part, pipeline->evaluate_options, max_items,
                    lists);
  };
  Evaluation result;
  if (const std::string path = arguments.text("lists"); !path.empty())
    write_atomically(path, [&](std::ostream& out) { result = measure(ListFile(out, pipeline->data())); });
  else result = measure({});
  std::vector<SanityLine> sanity;
  if (baseline.empty()) sanity = write_evaluation(folder, split, result, pipeline->data());
  std::cout << (arguments.has("json") ? evaluation_json(result) + "\n" : evaluation_table(result));
  if (!arguments.has("json") && !result.reliability.empty()) {
    std::cout << reliability_table(result.reliability);
    if (!sanity.empty()) std::cout << sanity_table(sanity, result.impressions.offset, result.impressions.label);
  }
  if (!arguments.has("json") && part == Part::test && pipeline->data().oracle_recall_at_10)
    std::cout << "oracle Recall@10 (the world's own probabilities): " << fixed(*pipeline->data().oracle_recall_at_10)
              << "\n";
  return 0;
}

}  // namespace tessera::cli
