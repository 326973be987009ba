#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <optional>

#include "framework/checkpoint/json.h"
#include "framework/eval/metrics.h"
#include "framework/eval/significance.h"
#include "framework/pipeline/run_directory.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

// One run, or several runs of one thing with different seeds.
struct System {
  std::string name;
  std::vector<std::string> folders;
  std::vector<PerUser> users;               // a run each
  std::vector<ImpressionFile> impressions;  // likewise, or empty
};

// Of a metric in a system: the mean over its runs, the deviation between them, and each user's mean over the runs.
struct Cell {
  double mean = 0, deviation = 0;
  std::vector<double> per_user;
};

void load(System& system, const std::string& split) {
  for (const auto& folder : system.folders) {
    check(is_run_directory(folder), folder, ": no run directory");
    system.users.push_back(read_per_user(folder + "/per_user." + split + ".csv"));
    const std::string path = folder + "/impressions." + split + ".csv";
    if (std::filesystem::exists(path)) system.impressions.push_back(read_impressions(path));
  }
  if (system.impressions.size() != system.folders.size()) system.impressions.clear();
}

// "name=dir,dir,..."
System group_of(const std::string& text) {
  const auto sign = text.find('=');
  if (sign == std::string::npos || sign == 0 || sign + 1 == text.size())
    throw UsageError(str("tessera compare: --group is '", text, "', expected name=RUN,RUN,..."));
  System system{text.substr(0, sign), {}, {}, {}};
  for (std::size_t begin = sign + 1; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) system.folders.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return system;
}

void check_same(const System& base, const System& other) {
  for (std::size_t r = 0; r < other.folders.size(); ++r) {
    check(other.users[r].users == base.users[0].users, other.folders[r], ": evaluated on other users than ",
          base.folders[0], "; paired tests need the same data and split");
    if (base.impressions.empty() || other.impressions.empty()) continue;
    check(
        other.impressions[r].user == base.impressions[0].user && other.impressions[r].item == base.impressions[0].item,
        other.folders[r], ": scored other impressions than ", base.folders[0],
        "; paired tests need the same data and split");
  }
}

double deviation_of(const std::vector<double>& values, double mean) {
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return values.size() < 2 ? 0.0 : std::sqrt(sum / static_cast<double>(values.size() - 1));
}

// Nothing where a run of the system lacks the metric.
std::optional<Cell> cell_of(const System& system, const std::string& metric) {
  Cell cell;
  std::vector<double> means;
  for (const PerUser& run : system.users) {
    const auto found = run.values.find(metric);
    if (found == run.values.end()) return std::nullopt;
    cell.per_user.resize(found->second.size());
    for (std::size_t u = 0; u < cell.per_user.size(); ++u)
      cell.per_user[u] += found->second[u] / static_cast<double>(system.users.size());
    means.push_back(mean_known(found->second));
    cell.mean += means.back() / static_cast<double>(system.users.size());
  }
  cell.deviation = deviation_of(means, cell.mean);
  return cell;
}

// Users without a number (one class of labels alone, say) are out of both.
PairedTest test_users(const Cell& a, const Cell& b) {
  std::vector<double> first, second;
  for (std::size_t u = 0; u < a.per_user.size(); ++u) {
    if (std::isnan(a.per_user[u]) || std::isnan(b.per_user[u])) continue;
    first.push_back(a.per_user[u]);
    second.push_back(b.per_user[u]);
  }
  if (first.size() < 2) return {a.mean, b.mean, b.mean - a.mean, std::nan(""), std::nan(""), std::nan("")};
  return paired_test(first, second);
}

// AUC of impressions: per_user holds each impression's contribution, the mean over the runs.
Cell auc_cell(const System& system) {
  Cell cell;
  std::vector<double> values;
  for (const ImpressionFile& run : system.impressions) {
    const auto& score = run.scores.at("score");
    const auto contribution = auc_contributions(score, run.label);
    cell.per_user.resize(contribution.size());
    for (std::size_t i = 0; i < contribution.size(); ++i)
      cell.per_user[i] += contribution[i] / static_cast<double>(system.impressions.size());
    values.push_back(auc(score, run.label));
    cell.mean += values.back() / static_cast<double>(system.impressions.size());
  }
  cell.deviation = deviation_of(values, cell.mean);
  return cell;
}

std::string p_text(double p) { return std::isnan(p) ? "-" : p < 0.0001 ? "<0.0001" : fixed(p, 4); }

std::string value_text(const System& system, const Cell& cell) {
  return fixed(cell.mean) + (system.folders.size() > 1 ? " +- " + fixed(cell.deviation) : "");
}

struct Comparison {
  std::vector<std::vector<std::string>> rows;
  std::string json;
};

void add_row(Comparison& out, const std::string& metric, const std::vector<System>& systems,
             const std::vector<std::optional<Cell>>& cells, const auto& test) {
  std::vector<std::string> row{metric, value_text(systems[0], *cells[0])};
  for (std::size_t i = 1; i < systems.size(); ++i) {
    if (!cells[i]) {
      row.insert(row.end(), {"-", "-", "-", "-"});
      continue;
    }
    const PairedTest result = test(*cells[0], *cells[i]);
    row.insert(row.end(), {value_text(systems[i], *cells[i]), fixed(result.difference),
                           fixed(result.low) + " .. " + fixed(result.high), p_text(result.p_value)});
    out.json += "{\"run\":" + json_text(systems[i].name) + ",\"metric\":" + json_text(metric) +
                ",\"base\":" + json_number(cells[0]->mean) + ",\"value\":" + json_number(cells[i]->mean) +
                ",\"base_deviation\":" + json_number(cells[0]->deviation) +
                ",\"deviation\":" + json_number(cells[i]->deviation) + ",\"low\":" + json_number(result.low) +
                ",\"high\":" + json_number(result.high) + ",\"p\":" + json_number(result.p_value) + "}\n";
  }
  out.rows.push_back(std::move(row));
}

Comparison compare(const std::vector<System>& systems) {
  Comparison out;
  out.rows.push_back({"metric", systems[0].name});
  for (std::size_t i = 1; i < systems.size(); ++i)
    for (const auto& column :
         {systems[i].name, std::string("difference"), std::string("95 % interval"), std::string("p")})
      out.rows[0].push_back(column);
  if (std::all_of(systems.begin(), systems.end(), [](const System& s) { return !s.impressions.empty(); })) {
    const ImpressionFile& seen = systems[0].impressions[0];
    std::vector<std::optional<Cell>> cells;
    for (const System& system : systems) cells.emplace_back(auc_cell(system));
    const bool both = std::any_of(seen.label.begin(), seen.label.end(), [](float y) { return y > 0.5f; }) &&
                      std::any_of(seen.label.begin(), seen.label.end(), [](float y) { return y <= 0.5f; });
    if (both)
      add_row(out, "AUC", systems, cells,
              [&](const Cell& a, const Cell& b) { return auc_test(a.per_user, b.per_user, seen.label, seen.offset); });
  }
  for (const auto& name : systems[0].users[0].names) {
    std::vector<std::optional<Cell>> cells;
    for (const System& system : systems) cells.push_back(cell_of(system, name));
    if (cells[0]) add_row(out, name, systems, cells, test_users);
  }
  return out;
}

void print_sanity_lines(const ImpressionFile& file) {
  std::vector<SanityLine> lines;
  for (const auto& name : file.names)
    if (name != "score") lines.push_back({name, file.scores.at(name)});
  if (!lines.empty()) std::cout << sanity_table(lines, file.offset, file.label);
}

}  // namespace

// The first run or group is what the others are compared with.
int run_compare(const std::vector<std::string>& words) {
  Arguments arguments("compare");
  arguments.options()("split", po::value<std::string>()->default_value("test"), "test or valid")(
      "group", po::value<std::vector<std::string>>(),
      "name=RUN,RUN,...: runs of one thing with several seeds, as one: mean and deviation; may be repeated")(
      "json", "print JSON");
  if (!arguments.parse(words)) return 0;
  std::vector<System> systems;
  for (const auto& text : arguments.texts("group")) systems.push_back(group_of(text));
  const std::size_t least = systems.size() >= 2 ? 0 : 2 - systems.size();
  for (const auto& folder : arguments.words(least, 100)) systems.push_back({folder, {folder}, {}, {}});
  for (System& system : systems) load(system, arguments.text("split"));
  for (const System& system : systems) check_same(systems[0], system);
  const Comparison result = compare(systems);
  if (arguments.has("json")) {
    std::cout << result.json;
    return 0;
  }
  std::cout << table(result.rows) << systems[0].users[0].users.size()
            << " users; difference to the first; paired bootstrap interval, paired t test over users";
  if (!systems[0].impressions.empty())
    std::cout << "; AUC: normal interval and test with users as clusters (DeLong 1988, Obuchowski 1997) over "
              << systems[0].impressions[0].label.size() << " impressions";
  std::cout << "\n";
  if (std::any_of(systems.begin(), systems.end(), [](const System& s) { return s.folders.size() > 1; }))
    std::cout << "groups: mean +- deviation between runs; tests on what users (impressions) average over the runs\n";
  if (!systems[0].impressions.empty()) print_sanity_lines(systems[0].impressions[0]);
  return 0;
}

}  // namespace tessera::cli
