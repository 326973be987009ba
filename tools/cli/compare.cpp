#include <algorithm>
#include <iostream>

#include "framework/checkpoint/json.h"
#include "framework/eval/significance.h"
#include "framework/pipeline/run_directory.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

PerUser results_of(const std::string& folder, const std::string& split) {
  check(is_run_directory(folder), folder, ": no run directory");
  return read_per_user(folder + "/per_user." + split + ".csv");
}

std::string p_text(double p) { return p < 0.0001 ? "<0.0001" : fixed(p, 4); }

}  // namespace

// The first run is what the others are compared with.
int run_compare(const std::vector<std::string>& words) {
  Arguments arguments("compare");
  arguments.options()("split", po::value<std::string>()->default_value("test"), "test or valid")("json", "print JSON");
  if (!arguments.parse(words)) return 0;
  const auto folders = arguments.words(2, 100);
  const PerUser base = results_of(folders[0], arguments.text("split"));
  std::vector<std::vector<std::string>> rows{{"metric", folders[0]}};
  for (std::size_t i = 1; i < folders.size(); ++i)
    for (const auto& column : {folders[i], std::string("difference"), std::string("95 % interval"), std::string("p")})
      rows[0].push_back(column);
  for (const auto& name : base.names) rows.push_back({name});
  std::string json;
  for (std::size_t i = 1; i < folders.size(); ++i) {
    const PerUser other = results_of(folders[i], arguments.text("split"));
    check(other.users == base.users, folders[i], ": evaluated on other users than ", folders[0],
          "; paired tests need the same data and split");
    for (std::size_t m = 0; m < base.names.size(); ++m) {
      const auto& name = base.names[m];
      auto& row = rows[m + 1];
      if (!other.values.contains(name)) {
        row.insert(row.end(), {"-", "-", "-", "-"});
        continue;
      }
      const PairedTest test = paired_test(base.values.at(name), other.values.at(name));
      if (i == 1) row.push_back(fixed(test.mean_a));
      row.insert(row.end(), {fixed(test.mean_b), fixed(test.difference), fixed(test.low) + " .. " + fixed(test.high),
                             p_text(test.p_value)});
      json += "{\"run\":" + json_text(folders[i]) + ",\"metric\":" + json_text(name) +
              ",\"base\":" + json_number(test.mean_a) + ",\"value\":" + json_number(test.mean_b) +
              ",\"low\":" + json_number(test.low) + ",\"high\":" + json_number(test.high) +
              ",\"p\":" + json_number(test.p_value) + "}\n";
    }
  }
  if (arguments.has("json")) std::cout << json;
  else
    std::cout << table(rows) << base.users.size()
              << " users; difference to the first run; paired bootstrap interval, paired t test\n";
  return 0;
}

}  // namespace tessera::cli
