#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// The merged configuration as a plain tree, private to this room. toml++ parses; this tree keeps what a merge must not
// lose: the order of keys and the file, line and column of each.
namespace tessera::detail {

struct Position {
  std::shared_ptr<const std::string> file;  // a path, or "--set section.key=value"
  int line = 0, column = 0;                 // 0: the file as a whole
  int rank = 0;                             // which file of the run, so that problems come in reading order

  std::string text() const;  // "tiger.toml:12:3"
};
bool operator<(const Position& a, const Position& b);

struct Member;

struct Value {
  enum class Kind { table, list, text, integer, number, boolean, date };
  Kind kind = Kind::table;
  Position position;  // of the key that names it; of a list's element, its own
  std::string text;   // also the source form of a date
  std::int64_t integer = 0;
  double number = 0;
  bool boolean = false;
  bool is_default = false;      // nobody wrote it
  std::vector<Value> items;     // list
  std::vector<Member> members;  // table, in file order

  const Value* find(std::string_view key) const;  // null where it is missing
  Value* find(std::string_view key);
  bool is_table_list() const;     // [[name]]
  std::string described() const;  // "the integer 3", "the string \"x\"", "a table"
  std::string literal() const;    // as TOML on one line
};

struct Member {
  std::string key;
  Value value;
};

// Throws ConfigError "name:line:column: ..." for text that is no TOML.
Value parse_toml(const std::string& name, int rank, std::string_view toml);

// Value::find along "data.files"; null where a part is missing or no table.
const Value* find_path(const Value& root, std::string_view path);
std::vector<std::string> split_path(std::string_view path);

std::string quoted(std::string_view text);  // a TOML string
std::string number_text(double value);      // shortest text that reads back to the same double
std::string to_toml(const Value& root);     // a whole document

std::string range_text(std::int64_t low, std::int64_t high);  // "1 to 8192", "1 or more", "any"
std::string range_text(double low, double high);

std::string join(const std::vector<std::string>& words, std::string_view between = ", ");

}  // namespace tessera::detail
