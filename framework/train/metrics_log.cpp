#include "framework/train/metrics_log.h"

#include <simdjson.h>

#include <set>
#include <sstream>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "framework/train/event_file.h"

namespace tessera {

std::string MetricsLog::text() const {
  std::string out;
  for (const auto& row : rows_) {
    out += "{\"step\":" + std::to_string(row.step);
    for (const auto& [name, value] : row.values) out += "," + json_text(name) + ":" + json_number(value);
    out += "}\n";
  }
  return out;
}

void MetricsLog::restore(const std::string& text) {
  rows_.clear();
  std::istringstream lines(text);
  simdjson::dom::parser parser;
  for (std::string line; std::getline(lines, line);) {
    Row row;
    for (auto [key, value] : parser.parse(line).get_object()) {
      double number = 0;
      if (value.get(number) != simdjson::SUCCESS) continue;
      if (key == "step") row.step = static_cast<std::int64_t>(number);
      else row.values[std::string(key)] = number;
    }
    rows_.push_back(std::move(row));
  }
}

void MetricsLog::write() const {
  write_atomically(folder_ + "/metrics.jsonl", [&](std::ostream& out) { out << text(); });
  std::set<std::string> names;
  for (const auto& row : rows_)
    for (const auto& [name, value] : row.values) names.insert(name);
  write_atomically(folder_ + "/metrics.csv", [&](std::ostream& out) {
    out << "step";
    for (const auto& name : names) out << ',' << name;
    out << '\n';
    for (const auto& row : rows_) {
      out << row.step;
      for (const auto& name : names) {
        const auto it = row.values.find(name);
        out << ',' << (it == row.values.end() ? "" : json_number(it->second));
      }
      out << '\n';
    }
  });
  EventFile events(folder_ + "/events.out.tfevents.0.tessera");
  for (const auto& row : rows_)
    for (const auto& [name, value] : row.values) events.add(row.step, name, value);
  events.flush();
}

}  // namespace tessera
