#include <algorithm>

#include "framework/config/config.h"
#include "framework/config/impl.h"

namespace tessera {

using detail::Position;
using detail::range_text;
using detail::Value;
using Kind = detail::Value::Kind;

OptionVisitor::~OptionVisitor() = default;

namespace {

std::string one_of(const std::vector<std::string>& allowed) {
  std::string out;
  for (const std::string& word : allowed) out += (out.empty() ? "" : ", ") + detail::quoted(word);
  return out;
}

std::string with_range(const char* what, const std::string& range) {
  return range == "any" ? what : str(what, ", ", range);
}

// Takes values out of a section and collects every problem on the way.
class Reader final : public OptionVisitor {
 public:
  Reader(const Section::Impl& section, const std::vector<std::string>& tables) : section_(section), tables_(tables) {}

  void integer(const char* key, std::int64_t& value, const char* help, std::int64_t low, std::int64_t high) override {
    const Value* found = find(key);
    if (!found) return;
    const bool good = found->kind == Kind::integer && found->integer >= low && found->integer <= high;
    if (good) value = found->integer;
    else wrong(*found, key, with_range("an integer", range_text(low, high)), help);
  }

  void number(const char* key, double& value, const char* help, double low, double high) override {
    const Value* found = find(key);
    if (!found) return;
    const double given = found->kind == Kind::integer ? static_cast<double>(found->integer) : found->number;
    const bool is_number = found->kind == Kind::integer || found->kind == Kind::number;
    if (is_number && given >= low && given <= high) value = given;  // false for nan
    else wrong(*found, key, with_range("a number", range_text(low, high)), help);
  }

  void boolean(const char* key, bool& value, const char* help) override {
    const Value* found = find(key);
    if (!found) return;
    if (found->kind == Kind::boolean) value = found->boolean;
    else wrong(*found, key, "true or false", help);
  }

  void text(const char* key, std::string& value, const char* help) override {
    const Value* found = find(key);
    if (!found) return;
    if (found->kind == Kind::text) value = found->text;
    else wrong(*found, key, "a text", help);
  }

  void choice(const char* key, std::string& value, const char* help, const std::vector<std::string>& allowed) override {
    const Value* found = find(key);
    if (!found) return;
    const bool good =
        found->kind == Kind::text && std::find(allowed.begin(), allowed.end(), found->text) != allowed.end();
    if (good) value = found->text;
    else
      wrong(*found, key, "one of " + one_of(allowed), help,
            found->kind == Kind::text ? suggestion(found->text, allowed) : "");
  }

  void integers(const char* key, std::vector<std::int64_t>& value, const char* help, std::int64_t low,
                std::int64_t high) override {
    list(key, help, with_range("an integer", range_text(low, high)), "a list of integers", value,
         [=](const Value& item, std::int64_t& out) {
           out = item.integer;
           return item.kind == Kind::integer && item.integer >= low && item.integer <= high;
         });
  }

  void texts(const char* key, std::vector<std::string>& value, const char* help) override {
    list(key, help, "a text", "a list of texts", value, [](const Value& item, std::string& out) {
      out = item.text;
      return item.kind == Kind::text;
    });
  }

  void finish() {
    std::vector<std::string> names{"plugin"};
    names.insert(names.end(), known_.begin(), known_.end());
    names.insert(names.end(), tables_.begin(), tables_.end());
    for (const auto& [key, value] : section_.table.members) {
      if (std::find(names.begin(), names.end(), key) != names.end()) continue;
      const std::string what = value.kind == Kind::table ? "unknown section [" + section_.name + "." + key + "]"
                                                         : "unknown key '" + key + "' in [" + section_.name + "]";
      problem(value.position, what + suggestion(key, names) + " (known: " + detail::join(names) + ")");
    }
    if (problems_.empty()) return;
    std::stable_sort(problems_.begin(), problems_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> texts;
    for (auto& [position, text] : problems_) texts.push_back(position.text() + ": " + text);
    throw ConfigError(std::move(texts));
  }

 private:
  const Value* find(const char* key) {
    known_.emplace_back(key);
    return section_.table.find(key);
  }

  template <class T, class Take>
  void list(const char* key, const char* help, const std::string& element, const char* whole, std::vector<T>& value,
            const Take& take) {
    const Value* found = find(key);
    if (!found) return;
    if (found->kind != Kind::list) return wrong(*found, key, whole, help);
    std::vector<T> taken(found->items.size());
    bool good = true;
    for (std::size_t i = 0; i < taken.size(); ++i) {
      if (take(found->items[i], taken[i])) continue;
      good = false;
      wrong(found->items[i], str(key, "[", i, "]"), element, help);
    }
    if (good) value = std::move(taken);
  }

  void wrong(const Value& found, const std::string& key, const std::string& expected, const char* help,
             const std::string& more = "") {
    problem(found.position, str("'", key, "' in [", section_.name, "] is ", found.described(), ", expected ", expected,
                                " (", help, ")", more));
  }
  void problem(const Position& position, std::string text) { problems_.emplace_back(position, std::move(text)); }

  const Section::Impl& section_;
  std::vector<std::string> tables_, known_;
  std::vector<std::pair<Position, std::string>> problems_;
};

class Describer final : public OptionVisitor {
 public:
  explicit Describer(std::vector<OptionHelp>& lines) : lines_(lines) {}

  void integer(const char* key, std::int64_t& value, const char* help, std::int64_t low, std::int64_t high) override {
    lines_.push_back({key, "integer", std::to_string(value), range_text(low, high), help});
  }
  void number(const char* key, double& value, const char* help, double low, double high) override {
    lines_.push_back({key, "number", detail::number_text(value), range_text(low, high), help});
  }
  void boolean(const char* key, bool& value, const char* help) override {
    lines_.push_back({key, "boolean", value ? "true" : "false", "true or false", help});
  }
  void text(const char* key, std::string& value, const char* help) override {
    lines_.push_back({key, "text", detail::quoted(value), "any", help});
  }
  void choice(const char* key, std::string& value, const char* help, const std::vector<std::string>& allowed) override {
    lines_.push_back({key, "choice", detail::quoted(value), one_of(allowed), help});
  }
  void integers(const char* key, std::vector<std::int64_t>& value, const char* help, std::int64_t low,
                std::int64_t high) override {
    std::vector<std::string> words;
    for (const std::int64_t v : value) words.push_back(std::to_string(v));
    lines_.push_back({key, "integers", "[" + detail::join(words) + "]", range_text(low, high), help});
  }
  void texts(const char* key, std::vector<std::string>& value, const char* help) override {
    lines_.push_back({key, "texts", "[" + one_of(value) + "]", "any", help});
  }

 private:
  std::vector<OptionHelp>& lines_;
};

}  // namespace

std::unique_ptr<OptionVisitor> Section::make_reader(const std::vector<std::string>& tables) const {
  return std::make_unique<Reader>(*impl_, tables);
}

void Section::finish(OptionVisitor& reader) const { static_cast<Reader&>(reader).finish(); }

std::unique_ptr<OptionVisitor> make_describer(std::vector<OptionHelp>& lines) {
  return std::make_unique<Describer>(lines);
}

}  // namespace tessera
