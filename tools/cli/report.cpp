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

std::string evaluation_table(const Evaluation& evaluation) {
  const std::string unseen = "unseen/";
  std::vector<std::vector<std::string>> rows{{"metric", "all items", "own items excluded"}};
  std::vector<std::string> names;
  for (const auto& name : evaluation.names) {
    const std::string plain = name.starts_with(unseen) ? name.substr(unseen.size()) : name;
    if (std::find(names.begin(), names.end(), plain) == names.end()) names.push_back(plain);
  }
  auto cell = [&](const std::string& name) {
    const auto it = evaluation.mean.find(name);
    return it == evaluation.mean.end() ? std::string("-") : fixed(it->second);
  };
  for (const auto& name : names) rows.push_back({name, cell(name), cell(unseen + name)});
  return evaluation.protocol + "\n" + table(rows);
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
