#include "tools/cli/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "framework/checkpoint/json.h"

namespace tessera::cli {

std::string fixed(double value, int digits) {
  if (std::isnan(value)) return "-";
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (width.size() <= i) width.resize(i + 1, 0);
      width[i] = std::max(width[i], row[i].size());
    }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string pad(width[i] - row[i].size(), ' ');
      out += i == 0 ? row[i] + pad : "  " + pad + row[i];
    }
    out += '\n';
  }
  return out;
}

std::string data_line(const Dataset& data, std::int64_t rejected) {
  std::int64_t parts[4] = {};
  for (const Part part : data.interactions.part) ++parts[static_cast<int>(part)];
  std::string out =
      str(data.name.empty() ? "data" : data.name, ": ", data.users(), " users, ", data.item_count(), " items, ",
          data.interactions.size(), " interactions (train ", parts[0], ", valid ", parts[1], ", test ", parts[2], ")");
  if (rejected > 0) out += str(", ", rejected, " bad records dropped");
  return out;
}

std::string long_histories_line(const Dataset& data, std::int64_t max_items, bool trains_in_windows) {
  if (max_items <= 0) return "";
  std::int64_t longer = 0;
  for (std::int64_t user = 0; user < data.users(); ++user) {
    std::int64_t known = 0;
    for (std::int64_t i = data.interactions.begin(user); i < data.interactions.end(user); ++i)
      known += data.interactions.part[static_cast<std::size_t>(i)] != Part::test;
    longer += known > max_items;
  }
  if (longer == 0) return "";
  return str(longer, " of ", data.users(), " users have more than ", max_items,
             " items, the most that the model reads: the newest ", max_items, " are kept",
             trains_in_windows ? " (training reads all of them, in overlapping pieces)" : "");
}

namespace {

// Click metrics: one line a metric, the slices beside all impressions.
std::string click_table(const Evaluation& evaluation) {
  const std::vector<std::string> prefixes{"", "cold_user/", "cold_item/"};
  std::vector<std::vector<std::string>> rows{{"metric", "all", "cold users", "cold items"}};
  for (const char* name : {"AUC", "GAUC", "UAUC", "LogLoss", "ECE", "impressions"}) {
    rows.push_back({name});
    for (const auto& prefix : prefixes) {
      const auto it = evaluation.mean.find(prefix + name);
      rows.back().push_back(
          it == evaluation.mean.end() ? "-" : fixed(it->second, std::string(name) == "impressions" ? 0 : 4));
    }
  }
  return table(rows);
}

bool is_click_metric(const std::string& name) {
  for (const char* metric : {"AUC", "GAUC", "UAUC", "LogLoss", "ECE", "impressions"})
    for (const char* prefix : {"", "cold_user/", "cold_item/"})
      if (name == std::string(prefix) + metric) return true;
  return false;
}

}  // namespace

std::string sanity_table(const std::vector<SanityLine>& lines, std::span<const std::int64_t> offset,
                         std::span<const float> label) {
  std::vector<std::vector<std::string>> rows{{"sanity line", "AUC", "GAUC", "LogLoss", "ECE"}};
  for (const auto& line : lines)
    rows.push_back({line.name == "item_mean"  ? "item mean"
                    : line.name == "logistic" ? "logistic regression on ids"
                                              : line.name,
                    fixed(auc(line.score, label)), fixed(gauc(line.score, label, offset)),
                    fixed(log_loss(line.score, label)), fixed(calibration_error(reliability(line.score, label, 10)))});
  return table(rows);
}

std::string reliability_table(const std::vector<ReliabilityBin>& bins) {
  std::vector<std::vector<std::string>> rows{{"predicted", "impressions", "mean predicted", "share clicked"}};
  for (const auto& bin : bins)
    rows.push_back({fixed(bin.low, 2) + " .. " + fixed(bin.high, 2), std::to_string(bin.count), fixed(bin.predicted),
                    fixed(bin.clicked)});
  return table(rows);
}

std::string evaluation_table(const Evaluation& evaluation) {
  const std::string unseen = "unseen/";
  const bool clicks = !evaluation.reliability.empty();
  std::vector<std::vector<std::string>> rows{{"metric", "all items", "own items excluded"}};
  std::vector<std::string> names;
  for (const auto& name : evaluation.names) {
    if (clicks && is_click_metric(name)) continue;
    const std::string plain = name.starts_with(unseen) ? name.substr(unseen.size()) : name;
    if (std::find(names.begin(), names.end(), plain) == names.end()) names.push_back(plain);
  }
  auto cell = [&](const std::string& name) {
    const auto it = evaluation.mean.find(name);
    return it == evaluation.mean.end() ? std::string("-") : fixed(it->second);
  };
  for (const auto& name : names) rows.push_back({name, cell(name), cell(unseen + name)});
  return evaluation.protocol + "\n" + (clicks ? click_table(evaluation) : "") + (names.empty() ? "" : table(rows));
}

std::string evaluation_json(const Evaluation& evaluation) {
  std::string out = "{\"protocol\":" + json_text(evaluation.protocol) +
                    ",\"users\":" + std::to_string(evaluation.user.size()) +
                    ",\"seconds\":" + json_number(evaluation.seconds) + ",\"metrics\":{";
  for (std::size_t i = 0; i < evaluation.names.size(); ++i)
    out += (i ? "," : "") + json_text(evaluation.names[i]) + ":" + json_number(evaluation.mean.at(evaluation.names[i]));
  return out + "}}";
}

}  // namespace tessera::cli
