#include <algorithm>
#include <iostream>
#include <optional>
#include <sstream>
#include <unordered_map>

#include "framework/catalog/filters.h"
#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "framework/eval/new_items.h"
#include "framework/roles/frozen_weights.h"
#include "framework/serve/memory_update.h"
#include "tools/cli/arguments.h"
#include "tools/cli/candidates.h"
#include "tools/cli/command.h"
#include "tools/cli/explain.h"
#include "tools/cli/report.h"
#include "tools/cli/session.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

std::unordered_map<std::string, std::int32_t> numbers_of(const std::vector<std::string>& ids) {
  std::unordered_map<std::string, std::int32_t> out;
  for (std::size_t i = 0; i < ids.size(); ++i) out.emplace(ids[i], static_cast<std::int32_t>(i));
  return out;
}

std::int32_t number_of(const std::unordered_map<std::string, std::int32_t>& numbers, const std::string& id,
                       const char* what) {
  const auto it = numbers.find(id);
  check(it != numbers.end(), "recommend: no ", what, " '", id, "' in the data set of this run");
  return it->second;
}

// Who asks: the names to print, and everything known of them (all parts of the data set).
struct Askers {
  std::vector<std::string> names;
  Histories histories;
};

void add_user(Askers& askers, const Dataset& data, std::int32_t user) {
  askers.names.push_back(data.user_ids[static_cast<std::size_t>(user)]);
  add_user_history(askers.histories, data, user);
}

Askers askers_of(const Arguments& arguments, const Dataset& data) {
  const int given = arguments.has("user") + arguments.has("history") + arguments.has("users");
  if (given != 1)
    throw UsageError(
        "tessera recommend: expected exactly one of --user ID, --history a,b,c, --users FILE and --candidates "
        "FILE");
  Askers askers;
  if (arguments.has("history")) {
    const auto items = numbers_of(data.items.ids);
    std::istringstream words(arguments.text("history"));
    std::vector<std::int32_t> history;
    for (std::string id; std::getline(words, id, ',');) history.push_back(number_of(items, id, "item"));
    askers.names.emplace_back("history");
    askers.histories = histories_of({history});
    return askers;
  }
  const auto users = numbers_of(data.user_ids);
  if (arguments.has("user")) {
    add_user(askers, data, number_of(users, arguments.text("user"), "user"));
    return askers;
  }
  std::istringstream lines(read_file(arguments.text("users")));
  for (std::string id; std::getline(lines, id);)
    if (!id.empty()) add_user(askers, data, number_of(users, id, "user"));
  return askers;
}

// Users of a memory: only what it holds is known of them.
Askers askers_of_memory(const Arguments& arguments) {
  if (arguments.has("history") || arguments.has("user") + arguments.has("users") != 1)
    throw UsageError("tessera recommend --memory: expected exactly one of --user ID and --users FILE");
  Askers askers;
  if (arguments.has("user")) {
    askers.names.push_back(arguments.text("user"));
    return askers;
  }
  std::istringstream lines(read_file(arguments.text("users")));
  for (std::string id; std::getline(lines, id);)
    if (!id.empty()) askers.names.push_back(id);
  check(!askers.names.empty(), "recommend: ", arguments.text("users"), " names no user");
  return askers;
}

UserMemory open_memory(const Arguments& arguments, const Pipeline& pipeline, const std::string& run) {
  UserMemory memory = UserMemory::open(arguments.text("memory"), UserMemory::Access::read);
  memory.require_model(model_hash(pipeline), run);
  require_storable(pipeline);
  return memory;
}

Memory recall_for(Askers& askers, const Arguments& arguments, const Pipeline& pipeline, const std::string& run) {
  const UserMemory memory = open_memory(arguments, pipeline, run);
  Recalled recalled = recall(pipeline.model(), memory, askers.names);
  askers.histories.user.assign(askers.names.size(), -1);
  askers.histories.offset = std::move(recalled.offset);
  askers.histories.item = std::move(recalled.items);
  return std::move(recalled.memory);
}

void print(const Arguments& arguments, const Pipeline& pipeline, const Askers& askers, const Ranking& ranking,
           const Reasons* reasons) {
  const Items& items = pipeline.data().items;
  for (std::int64_t b = 0; b < askers.histories.rows(); ++b) {
    const auto& name = askers.names[static_cast<std::size_t>(b)];
    if (!arguments.has("json")) std::cout << (b ? "\n" : "") << "user " << name << "\n";
    std::string json = "{\"user\":" + json_text(name) + (reasons ? reasons->history_json(b) : "") + ",\"items\":[";
    for (int r = 0; r < ranking.k; ++r) {
      const auto at = static_cast<std::size_t>(b * ranking.k + r);
      const auto item = ranking.item[at];
      if (item < 0) break;
      const auto i = static_cast<std::size_t>(item);
      const std::string title = items.titles.empty() ? "" : items.titles[i];
      if (arguments.has("json")) {
        json += str(r ? "," : "", "{\"item\":", json_text(items.ids[i]), ",\"title\":", json_text(title),
                    ",\"score\":", json_number(ranking.score[at]));
        if (reasons) json += reasons->json(b, r);
        json += "}";
      } else {
        std::cout << "  " << r + 1 << (r < 9 ? "   " : "  ") << items.ids[i] << "  " << fixed(ranking.score[at], 3)
                  << "  " << title << "\n";
        if (reasons) std::cout << reasons->text(b, r);
      }
    }
    if (arguments.has("json")) std::cout << json << "]}\n";
  }
}

}  // namespace

int run_recommend(const std::vector<std::string>& words) {
  Arguments arguments("recommend");
  add_pipeline_options(arguments);
  arguments.options()("user", po::value<std::string>(), "a user of the data set")(
      "history", po::value<std::string>(), "item ids, oldest first, separated by commas")(
      "users", po::value<std::string>(), "a file with one user a line")("k", po::value<int>()->default_value(10),
                                                                        "how many items")(
      "candidates", po::value<std::string>(),
      "a file of lists to score in place of a ranking: `user item item ...` a line; prints user, item, score")(
      "allow", po::value<std::string>(), "a file of item ids, one a line: only these are answered")(
      "new-share", po::value<double>(),
      "share of the places, 0 to 1, that goes to items without training interactions at least")(
      "seen", "answer items of the user's own history too")("memory", po::value<std::string>(),
                                                            "a user memory: answer from it, without reading histories")(
      "explain",
      "identifier of each item and what it shares with the history; where the head generates items, also their "
      "likelihood level by level, what the trie and the filters removed, and the weight of the history's items")(
      "json", "one JSON line a user");
  if (!arguments.parse(words)) return 0;
  const std::string folder = arguments.words(1, 1)[0];
  const int k = arguments.get<int>("k");
  const double new_share = arguments.has("new-share") ? arguments.get<double>("new-share") : 0.0;
  if (k < 1) throw UsageError(str("tessera recommend: --k is ", k, ", expected 1 or more"));
  if (!(new_share >= 0.0 && new_share <= 1.0))
    throw UsageError(str("tessera recommend: --new-share is ", new_share, ", expected 0 to 1"));
  Session session(arguments.texts("plugin-dir"), true);
  auto pipeline = session.open_run(folder, arguments.texts("set"), arguments.has("skip-bad"));
  const FrozenWeights frozen;
  const bool remembers = arguments.has("memory");
  if (arguments.has("candidates")) {
    for (const char* other : {"user", "history", "users", "allow", "seen", "new-share", "explain"})
      if (arguments.has(other))
        throw UsageError(str("tessera recommend: --candidates scores the lists of its file; --", other,
                             " has no meaning beside it"));
    const CandidateLists lists = read_candidates(arguments.text("candidates"), pipeline->data(), remembers);
    if (remembers) {
      const UserMemory memory = open_memory(arguments, *pipeline, folder);
      print_candidate_scores(*pipeline, lists, arguments.has("json"), &memory);
    } else {
      print_candidate_scores(*pipeline, lists, arguments.has("json"), nullptr);
    }
    return 0;
  }
  Askers askers = remembers ? askers_of_memory(arguments) : askers_of(arguments, pipeline->data());
  const Memory memory = remembers ? recall_for(askers, arguments, *pipeline, folder) : Memory();
  RankRequest request;
  request.k = static_cast<int>(std::min<std::int64_t>(k, pipeline->data().item_count()));
  if (!arguments.has("seen")) {
    request.excluded_offset = askers.histories.offset;
    request.excluded = askers.histories.item;
  }
  if (arguments.has("allow")) request.allowed = items_of_file(pipeline->data().items, arguments.text("allow"));
  Model& model = pipeline->model();
  Ranker ranker = [&](const Histories& histories, const RankRequest& asked) {
    return remembers ? pipeline->head().rank_memory(model, memory, asked)
                     : pipeline->head().rank(model, histories, asked);
  };
  if (new_share > 0.0) ranker = with_new_items(std::move(ranker), new_items(pipeline->data()), new_share);
  const Ranking ranking = ranker(askers.histories, request);
  std::optional<Reasons> reasons;
  if (arguments.has("explain")) reasons.emplace(*pipeline, askers.histories, request, ranking, remembers);
  if (reasons && !reasons->silence().empty()) std::cerr << "tessera recommend: " << reasons->silence() << "\n";
  print(arguments, *pipeline, askers, ranking, reasons ? &*reasons : nullptr);
  return 0;
}

}  // namespace tessera::cli
