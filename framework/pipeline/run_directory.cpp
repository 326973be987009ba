#include "framework/pipeline/run_directory.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <sstream>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "framework/config/config.h"

namespace tessera {
namespace {

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> out(1);
  bool quoted = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      out.back() += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      out.emplace_back();
    } else {
      out.back() += c;
    }
  }
  return out;
}

}  // namespace

void write_manifest(const std::string& folder, const Manifest& m) {
  write_atomically(folder + "/manifest.toml", [&](std::ostream& out) {
    auto text = [&](const char* key, const std::string& value) { out << key << " = " << json_text(value) << '\n'; };
    // A document inside the document, as it reads, where TOML's literal strings can hold it.
    auto block = [&](const char* key, const std::string& value) {
      const bool plain =
          value.find("'''") == std::string::npos && !value.ends_with('\'') &&
          std::all_of(value.begin(), value.end(), [](unsigned char c) { return c >= 32 || c == '\n' || c == '\t'; });
      if (plain) out << key << " = '''\n" << value << "'''\n";
      else text(key, value);
    };
    text("tessera", m.version);
    text("pipeline", m.pipeline);
    text("data", m.data);
    text("data_hash", m.data_hash);
    text("identity", m.identity);
    text("gemm", m.gemm);
    text("state", m.state);
    text("seed", std::to_string(m.seed));
    text("threads", std::to_string(m.threads));
    text("steps", std::to_string(m.steps));
    out << "plugins = [\n";
    for (const auto& plugin : m.plugins) out << "  " << json_text(plugin) << ",\n";
    out << "]\n";
    block("config", m.config);
    block("effective", m.effective);
    out << "\n[metrics]\n";
    for (const auto& [name, value] : m.metrics) {
      const std::string number = json_number(value);
      out << json_text(name) << " = "
          << (number == "null"                                  ? "nan"
              : number.find_first_of(".e") == std::string::npos ? number + ".0"
                                                                : number)
          << '\n';
    }
  });
}

bool is_run_directory(const std::string& folder) { return std::filesystem::exists(folder + "/manifest.toml"); }

Manifest read_manifest(const std::string& folder) {
  check(is_run_directory(folder), folder,
        ": no manifest.toml there; expected a run directory, as `tessera train` writes it");
  const Config facts = Config::load({folder + "/manifest.toml"});
  Manifest m;
  auto text = [&](const char* key) { return facts.text(key, ""); };
  m.version = text("tessera");
  m.pipeline = text("pipeline");
  m.data = text("data");
  m.data_hash = text("data_hash");
  m.identity = text("identity");
  m.gemm = text("gemm");
  m.state = text("state");
  m.config = text("config");
  m.effective = text("effective");
  m.seed = std::stoll("0" + text("seed"));
  m.threads = std::stoll("0" + text("threads"));
  m.steps = std::stoll("0" + text("steps"));
  m.plugins = facts.texts("plugins");
  if (facts.has("metrics")) {
    const Section metrics = facts.section("metrics");
    for (const auto& name : metrics.keys()) m.metrics.emplace_back(name, metrics.number(name));
  }
  check(!m.config.empty(), folder, "/manifest.toml: holds no config; the file is damaged");
  return m;
}

void write_per_user(const std::string& path, const Evaluation& evaluation, const Dataset& data) {
  write_atomically(path, [&](std::ostream& out) {
    out << "user";
    for (const auto& [name, values] : evaluation.per_user) out << ',' << name;
    out << '\n';
    for (std::size_t row = 0; row < evaluation.user.size(); ++row) {
      out << csv_field(data.user_ids[static_cast<std::size_t>(evaluation.user[row])]);
      for (const auto& [name, values] : evaluation.per_user)
        out << ',' << (std::isnan(values[row]) ? "nan" : json_number(values[row]));
      out << '\n';
    }
  });
}

namespace {

double number_of(const std::string& field, const std::string& path, std::int64_t record) {
  double value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  check(error == std::errc() && end == field.data() + field.size(), path, ":", record, ": '", field, "' is no number");
  return value;
}

}  // namespace

PerUser read_per_user(const std::string& path) {
  PerUser out;
  std::istringstream lines(read_file(path));
  std::string line;
  std::getline(lines, line);
  auto header = csv_fields(line);
  check(!header.empty() && header[0] == "user", path, ":1: expected a header that begins with 'user'");
  out.names.assign(header.begin() + 1, header.end());
  for (std::int64_t record = 2; std::getline(lines, line); ++record) {
    const auto fields = csv_fields(line);
    check(fields.size() == header.size(), path, ":", record, ": ", fields.size(), " fields, expected ", header.size());
    out.users.push_back(fields[0]);
    for (std::size_t i = 1; i < fields.size(); ++i) out.values[header[i]].push_back(number_of(fields[i], path, record));
  }
  return out;
}

void write_impressions(const std::string& path, const Impressions& impressions, const std::vector<SanityLine>& lines,
                       const Dataset& data) {
  write_atomically(path, [&](std::ostream& out) {
    out << "user,item,label,score";
    for (const auto& line : lines) out << ',' << line.name;
    out << '\n';
    for (std::int64_t row = 0; row < impressions.rows(); ++row) {
      const auto user =
          csv_field(data.user_ids[static_cast<std::size_t>(impressions.user[static_cast<std::size_t>(row)])]);
      for (auto i = static_cast<std::size_t>(impressions.offset[static_cast<std::size_t>(row)]);
           i < static_cast<std::size_t>(impressions.offset[static_cast<std::size_t>(row) + 1]); ++i) {
        out << user << ',' << csv_field(data.items.ids[static_cast<std::size_t>(impressions.item[i])]) << ','
            << static_cast<int>(impressions.label[i]) << ',' << json_number(static_cast<double>(impressions.score[i]));
        for (const auto& line : lines) out << ',' << json_number(static_cast<double>(line.score[i]));
        out << '\n';
      }
    }
  });
}

ImpressionFile read_impressions(const std::string& path) {
  ImpressionFile out;
  std::istringstream lines(read_file(path));
  std::string line;
  std::getline(lines, line);
  const auto header = csv_fields(line);
  check(
      header.size() >= 4 && header[0] == "user" && header[1] == "item" && header[2] == "label" && header[3] == "score",
      path, ":1: expected a header that begins with user,item,label,score");
  out.names.assign(header.begin() + 3, header.end());
  for (std::int64_t record = 2; std::getline(lines, line); ++record) {
    const auto fields = csv_fields(line);
    check(fields.size() == header.size(), path, ":", record, ": ", fields.size(), " fields, expected ", header.size());
    if (!out.user.empty() && out.user.back() != fields[0])
      out.offset.push_back(static_cast<std::int64_t>(out.user.size()));
    out.user.push_back(fields[0]);
    out.item.push_back(fields[1]);
    out.label.push_back(static_cast<float>(number_of(fields[2], path, record)));
    for (std::size_t i = 3; i < fields.size(); ++i)
      out.scores[header[i]].push_back(static_cast<float>(number_of(fields[i], path, record)));
  }
  if (!out.user.empty()) out.offset.push_back(static_cast<std::int64_t>(out.user.size()));
  return out;
}

void write_reliability(const std::string& path, const std::vector<ReliabilityBin>& bins) {
  write_atomically(path, [&](std::ostream& out) {
    out << "from,to,impressions,mean_predicted,share_clicked\n";
    for (const auto& bin : bins)
      out << json_number(bin.low) << ',' << json_number(bin.high) << ',' << bin.count << ','
          << (bin.count == 0 ? "nan,nan" : json_number(bin.predicted) + "," + json_number(bin.clicked)) << '\n';
  });
}

std::vector<SanityLine> write_evaluation(const std::string& folder, const std::string& split,
                                         const Evaluation& evaluation, const Dataset& data) {
  write_per_user(folder + "/per_user." + split + ".csv", evaluation, data);
  if (evaluation.reliability.empty()) return {};
  auto lines = sanity_lines(data, evaluation.impressions);
  write_impressions(folder + "/impressions." + split + ".csv", evaluation.impressions, lines, data);
  write_reliability(folder + "/reliability." + split + ".csv", evaluation.reliability);
  return lines;
}

}  // namespace tessera
