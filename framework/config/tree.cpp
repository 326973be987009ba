#include "framework/config/tree.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <tuple>

#include "tensor/core/error.h"

namespace tessera::detail {
namespace {

bool is_bare_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string key_text(std::string_view key) { return is_bare_key(key) ? std::string(key) : quoted(key); }

void write_table(const Value& table, const std::string& path, std::string& out) {
  for (const auto& [key, value] : table.members) {
    if (value.kind == Value::Kind::table || value.is_table_list()) continue;
    out += key_text(key) + " = " + value.literal() + (value.is_default ? "  # default\n" : "\n");
  }
  for (const auto& [key, value] : table.members) {
    const std::string inner = path.empty() ? key_text(key) : path + "." + key_text(key);
    if (value.kind == Value::Kind::table) {
      out += "\n[" + inner + "]\n";
      write_table(value, inner, out);
    } else if (value.is_table_list()) {
      for (const Value& item : value.items) {
        out += "\n[[" + inner + "]]\n";
        write_table(item, inner, out);
      }
    }
  }
}

template <class T>
std::string range_of(T low, T high, bool no_low, bool no_high, std::string (*text)(T)) {
  if (no_low && no_high) return "any";
  if (no_high) return text(low) + " or more";
  if (no_low) return "at most " + text(high);
  return text(low) + " to " + text(high);
}

}  // namespace

std::string Position::text() const {
  const std::string& name = file ? *file : std::string();
  return line > 0 ? str(name, ":", line, ":", column) : name;
}

bool operator<(const Position& a, const Position& b) {
  return std::tie(a.rank, a.line, a.column) < std::tie(b.rank, b.line, b.column);
}

const Value* Value::find(std::string_view key) const {
  for (const auto& [name, value] : members)
    if (name == key) return &value;
  return nullptr;
}

Value* Value::find(std::string_view key) { return const_cast<Value*>(static_cast<const Value*>(this)->find(key)); }

bool Value::is_table_list() const {
  return kind == Kind::list && !items.empty() &&
         std::all_of(items.begin(), items.end(), [](const Value& item) { return item.kind == Kind::table; });
}

std::string Value::described() const {
  switch (kind) {
    case Kind::table: return "a table";
    case Kind::list: return is_table_list() ? "a list of tables" : "the list " + literal();
    case Kind::text: return "the text " + literal();
    case Kind::integer: return "the integer " + literal();
    case Kind::number: return "the number " + literal();
    case Kind::boolean: return literal();
    case Kind::date: return "the date " + literal();
  }
  return {};
}

std::string Value::literal() const {
  std::string out;
  switch (kind) {
    case Kind::table:
      for (const auto& [key, value] : members)
        out += (out.empty() ? "" : ", ") + key_text(key) + " = " + value.literal();
      return "{" + out + "}";
    case Kind::list:
      for (const Value& item : items) out += (out.empty() ? "" : ", ") + item.literal();
      return "[" + out + "]";
    case Kind::text: return quoted(text);
    case Kind::integer: return std::to_string(integer);
    case Kind::number: return number_text(number);
    case Kind::boolean: return boolean ? "true" : "false";
    case Kind::date: return text;
  }
  return out;
}

std::vector<std::string> split_path(std::string_view path) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    parts.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

const Value* find_path(const Value& root, std::string_view path) {
  const Value* at = &root;
  for (const std::string& part : split_path(path)) {
    at = at->find(part);
    if (!at) return nullptr;
  }
  return at;
}

std::string quoted(std::string_view text) {
  static constexpr const char* kHex = "0123456789ABCDEF";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";  // else it would read back as an integer
  return text;
}

std::string to_toml(const Value& root) {
  std::string out;
  write_table(root, "", out);
  return out.starts_with('\n') ? out.substr(1) : out;
}

std::string range_text(std::int64_t low, std::int64_t high) {
  using Limits = std::numeric_limits<std::int64_t>;
  using Narrow = std::numeric_limits<std::int32_t>;  // an int option's "no limit"
  return range_of<std::int64_t>(low, high, low == Limits::min() || low == Narrow::min(),
                                high == Limits::max() || high == Narrow::max(),
                                [](std::int64_t v) { return std::to_string(v); });
}

std::string range_text(double low, double high) {
  constexpr double kMost = std::numeric_limits<double>::max();
  return range_of<double>(low, high, low <= -kMost, high >= kMost, [](double v) {
    char buffer[64];
    return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, v).ptr);
  });
}

std::string join(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty()) out += between;
    out += word;
  }
  return out;
}

}  // namespace tessera::detail
