#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/core/export.h"

// Typed options over TOML. Options are declared once and used four times: to parse, to validate, to print help, and to
// write the effective configuration:
//   struct Options {
//     int width = 64;  double dropout = 0.1;
//     template <class V> void describe(V& v) {
//       v("width", width, "embedding width", 1, 8192);
//       v("dropout", dropout, "drop probability", 0.0, 0.9);
//     }
//   };
//   const auto options = section.read<Options>();
// This room is the one place that includes toml++.
namespace tessera {

// One or more problems of configuration, each "file:line:column: what was found, what was expected". Exit status 2.
class TESSERA_API ConfigError : public Error {
 public:
  explicit ConfigError(std::vector<std::string> problems);
  explicit ConfigError(const std::string& problem) : ConfigError(std::vector<std::string>{problem}) {}
  ~ConfigError() override;
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  std::vector<std::string> problems_;
};

// What an options struct is described to. Keys are declared in the order that users meet them.
class TESSERA_API OptionVisitor {
 public:
  virtual ~OptionVisitor();
  virtual void integer(const char* key, std::int64_t& value, const char* help, std::int64_t low, std::int64_t high) = 0;
  virtual void number(const char* key, double& value, const char* help, double low, double high) = 0;
  virtual void boolean(const char* key, bool& value, const char* help) = 0;
  virtual void text(const char* key, std::string& value, const char* help) = 0;
  virtual void choice(const char* key, std::string& value, const char* help,
                      const std::vector<std::string>& allowed) = 0;
  virtual void integers(const char* key, std::vector<std::int64_t>& value, const char* help, std::int64_t low,
                        std::int64_t high) = 0;
  virtual void texts(const char* key, std::vector<std::string>& value, const char* help) = 0;

  template <std::integral T>
  requires(!std::same_as<T, bool>) void operator()(const char* key, T& value, const char* help, std::int64_t low,
                                                   std::int64_t high) {
    auto wide = static_cast<std::int64_t>(value);
    integer(key, wide, help, low, high);
    value = static_cast<T>(wide);
  }
  void operator()(const char* key, double& value, const char* help, double low, double high) {
    number(key, value, help, low, high);
  }
  void operator()(const char* key, bool& value, const char* help) { boolean(key, value, help); }
  void operator()(const char* key, std::string& value, const char* help) { text(key, value, help); }
  void operator()(const char* key, std::string& value, const char* help, std::initializer_list<const char*> allowed) {
    choice(key, value, help, {allowed.begin(), allowed.end()});
  }
  void operator()(const char* key, std::vector<std::int64_t>& value, const char* help, std::int64_t low,
                  std::int64_t high) {
    integers(key, value, help, low, high);
  }
  void operator()(const char* key, std::vector<std::string>& value, const char* help) { texts(key, value, help); }
};

// One [table] of the merged configuration. Remembers where each key was written. Cheap to copy.
class TESSERA_API Section {
 public:
  struct Impl;
  explicit Section(std::shared_ptr<const Impl> impl);
  Section(const Section&);
  Section& operator=(const Section&);
  ~Section();

  static Section empty(const std::string& name);  // all defaults: tests, and sections that may be left out
  static Section parse(const std::string& name, const std::string& toml);  // for tests: the table's own lines

  const std::string& name() const;                     // "tokenizer", "data.files"
  std::string where(std::string_view key = {}) const;  // "tiger.toml:12:3", of the key or of the table itself
  std::string plugin() const;                          // the value of `plugin`; throws ConfigError where it is missing
  bool has(std::string_view key) const;
  std::vector<std::string> keys() const;
  std::string toml() const;                      // its keys and values, for hashes and manifests
  std::string text(std::string_view key) const;  // a string value; throws ConfigError
  double number(std::string_view key) const;     // of any kind; throws ConfigError

  // Fills options from this section. `plugin` is always allowed; tables inside the section only where named in
  // `tables`. Throws one ConfigError with every problem: unknown keys (with a suggestion), wrong types, values out of
  // range.
  template <class Options>
  Options read(const std::vector<std::string>& tables = {}) const {
    Options options;
    const auto reader = make_reader(tables);
    options.describe(*reader);
    finish(*reader);
    return options;
  }
  // "file:line:column: text", for checks that a range cannot express.
  [[noreturn]] void fail(std::string_view key, const std::string& text) const;

 private:
  std::unique_ptr<OptionVisitor> make_reader(const std::vector<std::string>& tables) const;
  void finish(OptionVisitor& reader) const;
  std::shared_ptr<const Impl> impl_;
};

// A list of values that a section offers for one key of the configuration: `"head.loss" = ["bpr", "softmax"]`.
struct Choices {
  std::string key;                  // "head.loss"
  std::string where;                // "search.toml:3:1"
  std::vector<std::string> values;  // as TOML: "\"bpr\""
};

// One line an option: name, type, default, range, help. `tessera plugins NAME` prints it.
struct OptionHelp {
  std::string key, type, default_value, range, help;
};

// The files of a run, merged in order (a later file wins key by key), then overridden by "section.key=value" settings.
class TESSERA_API Config {
 public:
  struct Impl;
  static Config load(const std::vector<std::string>& files, const std::vector<std::string>& settings = {});
  static Config parse(const std::string& name, const std::string& toml, const std::vector<std::string>& settings = {});

  bool has(const std::string& section) const;
  Section section(const std::string& name) const;  // "data.files" too; throws ConfigError with the sections present
  Section section_or_empty(const std::string& name) const;
  std::vector<Section> sections(const std::string& name) const;  // [[name]] tables in order, or one [name], or none
  std::vector<std::string> top_level() const;                    // names of all top-level keys
  std::string where(const std::string& key) const;
  std::string text(const std::string& key, const std::string& otherwise) const;  // a top-level string
  std::vector<std::string> texts(const std::string& key) const;  // a top-level list of strings, or empty
  // The lists of a section, in its order; keys are dotted paths, quoted or as tables inside the section. Throws
  // ConfigError where a value is no list or an empty one, or a key is given twice.
  std::vector<Choices> choices(const std::string& section) const;
  Config without(const std::string& key) const;  // the same without a top-level key or section
  std::string toml() const;                      // the merged configuration, for the manifest
  // The same with every option of a section ("model", "featurizer.0") that the files leave out at its default, marked
  // so in toml().
  Config with_defaults(const std::string& section, const std::vector<OptionHelp>& options) const;

 private:
  std::shared_ptr<const Impl> impl_;
};

// Fills one OptionHelp an option.
TESSERA_API std::unique_ptr<OptionVisitor> make_describer(std::vector<OptionHelp>& lines);
template <class Options>
std::vector<OptionHelp> describe_options() {
  std::vector<OptionHelp> lines;
  Options options;
  options.describe(*make_describer(lines));
  return lines;
}

// "; did you mean 'width'?" within a small edit distance, or "".
TESSERA_API std::string suggestion(std::string_view found, const std::vector<std::string>& known);

}  // namespace tessera
