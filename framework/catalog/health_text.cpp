#include <algorithm>
#include <cstdio>

#include "framework/catalog/health.h"
#include "framework/checkpoint/json.h"

namespace tessera {
namespace {

std::string number(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

// Rows of cells as aligned columns; the first column to the left, the others to the right.
std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> width;
  for (const auto& row : rows)
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c == width.size()) width.push_back(0);
      width[c] = std::max(width[c], row[c].size());
    }
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string space(width[c] - row[c].size(), ' ');
      out += "  " + (c ? space + row[c] : row[c] + space);
    }
    out.erase(out.find_last_not_of(' ') + 1);
    out += '\n';
  }
  return out;
}

std::string prefix_table(const std::vector<HealthReport::Prefix>& prefixes) {
  std::vector<std::vector<std::string>> rows{{"prefix", "different", "share", "largest group"}};
  for (const auto& prefix : prefixes)
    rows.push_back({std::to_string(prefix.depth), std::to_string(prefix.distinct), number(prefix.share, 4),
                    std::to_string(prefix.largest_group)});
  return aligned(rows);
}

std::string list(const std::vector<std::string>& parts, const char* open, const char* close) {
  std::string out = open;
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i ? ", " : "") + parts[i];
  return out + close;
}

using Fields = std::vector<std::pair<const char*, std::string>>;

std::string object(const Fields& fields) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : fields) parts.push_back(json_text(name) + ": " + value);
  return list(parts, "{", "}");
}

template <class T, class F>
std::string array(const std::vector<T>& values, F&& text) {
  std::vector<std::string> parts;
  for (const T& value : values) parts.push_back(text(value));
  return list(parts, "[", "]");
}

std::string prefix_json(const HealthReport::Prefix& prefix) {
  return object({{"depth", std::to_string(prefix.depth)},
                 {"different", std::to_string(prefix.distinct)},
                 {"share", json_number(prefix.share)},
                 {"largest_group", std::to_string(prefix.largest_group)}});
}

std::string json_bool(bool value) { return value ? "true" : "false"; }

}  // namespace

bool HealthReport::passed() const {
  return std::all_of(checks.begin(), checks.end(), [](const Check& check) { return check.passed; });
}

std::string HealthReport::table() const {
  std::string out = str("tokens of ", items, " items\n");
  std::vector<std::vector<std::string>> rows{{"level", "codes", "used", "dead", "usage", "perplexity"}};
  for (const Level& level : levels)
    rows.push_back({level.name, std::to_string(level.codes), std::to_string(level.used),
                    std::to_string(level.codes - level.used), number(level.usage, 3), number(level.perplexity, 1)});
  out += aligned(rows);
  out +=
      str("before the policy: ", colliding_items, " items share a tuple, the largest group has ", largest_group, "\n");
  out += prefix_table(token_prefixes);
  out +=
      str("under the policy '", policy, "': ", identifier_levels, " levels, ", unique ? "unique" : "not unique", "\n");
  int codebook = 0;
  for (const Level& level : levels) codebook = std::max(codebook, level.codes);
  if (policy_codes > codebook)
    out += str("the policy's level has ", policy_codes, " codes, more than a codebook (", codebook,
               "): one for each item of the largest group; the vocabulary grows by them\n");
  out += prefix_table(prefixes);
  for (const Modality& modality : modalities) {
    out += str(modality.name, ": R2 after 1 .. ", modality.r2.size(), " levels:");
    for (const double value : modality.r2) out += " " + number(value, 4);
    out += str("; nearest neighbours kept: ", number(modality.neighbours, 4), " (by chance ",
               number(modality.chance, 4), ")\n");
  }
  rows.clear();
  for (const HealthFigure& figure : figures) rows.push_back({figure.name, number(figure.value, 4)});
  out += aligned(rows);
  rows.clear();
  for (const Check& check : checks)
    rows.push_back(
        {check.what, number(check.found, 4), "at least " + number(check.expected, 4), check.passed ? "PASS" : "FAIL"});
  out += aligned(rows);
  return out + "health: " + (passed() ? "PASS" : "FAIL") + "\n";
}

std::string HealthReport::json() const {
  const auto whole = [](auto value) { return std::to_string(value); };
  return object(
      {{"passed", json_bool(passed())},
       {"items", whole(items)},
       {"levels", array(levels,
                        [&](const Level& level) {
                          return object({{"name", json_text(level.name)},
                                         {"codes", whole(level.codes)},
                                         {"used", whole(level.used)},
                                         {"dead", whole(level.codes - level.used)},
                                         {"usage", json_number(level.usage)},
                                         {"perplexity", json_number(level.perplexity)}});
                        })},
       {"colliding_items", whole(colliding_items)},
       {"largest_group", whole(largest_group)},
       {"policy", json_text(policy)},
       {"identifier_levels", whole(identifier_levels)},
       {"policy_codes", whole(policy_codes)},
       {"unique", json_bool(unique)},
       {"token_prefixes", array(token_prefixes, prefix_json)},
       {"prefixes", array(prefixes, prefix_json)},
       {"modalities", array(modalities,
                            [&](const Modality& modality) {
                              return object(
                                  {{"name", json_text(modality.name)},
                                   {"r2", array(modality.r2, [](double value) { return json_number(value); })},
                                   {"neighbours", json_number(modality.neighbours)},
                                   {"chance", json_number(modality.chance)}});
                            })},
       {"figures", array(figures,
                         [](const HealthFigure& figure) {
                           return object({{"name", json_text(figure.name)}, {"value", json_number(figure.value)}});
                         })},
       {"checks", array(checks, [&](const Check& check) {
          return object({{"what", json_text(check.what)},
                         {"found", json_number(check.found)},
                         {"expected", json_number(check.expected)},
                         {"passed", json_bool(check.passed)}});
        })}});
}

}  // namespace tessera
