#include "framework/data/json.h"

#include <simdjson.h>

#include <charconv>

#include "tensor/core/error.h"

namespace tessera {
namespace {

std::string shortest(double value) {
  char digits[32];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  return error == std::errc() ? std::string(digits, end) : std::string();
}

JsonValue number(std::string text, double value) {
  JsonValue out;
  out.kind = JsonValue::Kind::number;
  out.text = std::move(text);
  out.number = value;
  return out;
}

// The parser bounds the depth (1,024), so the recursion is bounded too.
JsonValue convert(const simdjson::dom::element& element) {
  using Type = simdjson::dom::element_type;
  JsonValue out;
  switch (element.type()) {
    case Type::NULL_VALUE: break;
    case Type::BOOL: {
      const bool value = element.get_bool().value_unsafe();
      out = number(value ? "true" : "false", value ? 1.0 : 0.0);
      out.kind = JsonValue::Kind::boolean;
      break;
    }
    case Type::INT64: {
      const std::int64_t value = element.get_int64().value_unsafe();
      return number(std::to_string(value), static_cast<double>(value));
    }
    case Type::UINT64: {
      const std::uint64_t value = element.get_uint64().value_unsafe();
      return number(std::to_string(value), static_cast<double>(value));
    }
    case Type::DOUBLE: {
      const double value = element.get_double().value_unsafe();
      return number(shortest(value), value);
    }
    case Type::STRING:
      out.kind = JsonValue::Kind::text;
      out.text = std::string(element.get_string().value_unsafe());
      break;
    case Type::ARRAY: {
      const simdjson::dom::array list = element.get_array().value_unsafe();
      out.kind = JsonValue::Kind::list;
      for (const auto child : list) out.list.push_back(convert(child));
      break;
    }
    case Type::OBJECT: {
      const simdjson::dom::object object = element.get_object().value_unsafe();
      out.kind = JsonValue::Kind::object;
      for (const auto& member : object) {
        out.names.emplace_back(member.key);
        out.list.push_back(convert(member.value));
      }
      break;
    }
  }
  return out;
}

void flatten(const JsonValue& value, std::string& out) {
  if (value.kind == JsonValue::Kind::list || value.kind == JsonValue::Kind::object) {
    for (const auto& child : value.list) flatten(child, out);
  } else if (!value.text.empty()) {
    if (!out.empty()) out += ", ";
    out += value.text;
  }
}

}  // namespace

const JsonValue* JsonValue::find(std::string_view name) const {
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return list[i].kind == Kind::null ? nullptr : &list[i];
  return nullptr;
}

std::string JsonValue::flat() const {
  std::string out;
  flatten(*this, out);
  return out;
}

struct JsonParser::Impl {
  simdjson::dom::parser parser;
};

JsonParser::JsonParser() : impl_(std::make_unique<Impl>()) {}
JsonParser::~JsonParser() = default;

std::optional<JsonValue> JsonParser::parse(std::string_view text, std::string& problem) {
  simdjson::dom::element element;
  const auto error = impl_->parser.parse(text.data(), text.size(), true).get(element);
  if (error) {
    problem = str("is no JSON: ", simdjson::error_message(error));
    return std::nullopt;
  }
  return convert(element);
}

bool JsonLines::next(JsonValue& object) {
  std::string_view line;
  std::string problem;
  while (lines_.next(line)) {
    if (split_words(line).empty()) continue;
    auto value = parser_.parse(line, problem);
    if (value && value->kind == JsonValue::Kind::object) {
      object = std::move(*value);
      return true;
    }
    rejects_.add(lines_.path(), lines_.number(), value ? "is no JSON object; expected {...}" : problem);
  }
  return false;
}

}  // namespace tessera
