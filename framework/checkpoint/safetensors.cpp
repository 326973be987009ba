#include "framework/checkpoint/safetensors.h"

#include <simdjson.h>

#include <bit>
#include <cstring>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"

namespace tessera {

CheckpointError::~CheckpointError() = default;

namespace {

constexpr const char* kChecksum = "tessera.checksum";

struct TypeName {
  DType type;
  const char* name;
};
constexpr TypeName kTypes[] = {{DType::f32, "F32"}, {DType::f64, "F64"}, {DType::bf16, "BF16"},
                               {DType::i32, "I32"}, {DType::i64, "I64"}, {DType::u8, "U8"}};

const char* type_name(DType type) {
  for (const auto& t : kTypes)
    if (t.type == type) return t.name;
  return "?";
}

// A 64-bit hash of bytes, eight at a time (FNV-1a with a rotation): finds damage, no protection against an adversary.
class Hash {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    std::uint64_t rest = bytes;
    for (; bytes >= 8; p += 8, bytes -= 8) {
      std::uint64_t word;
      std::memcpy(&word, p, 8);
      mix(word);
    }
    for (std::size_t i = 0; i < bytes; ++i) rest = rest << 8 | p[i];
    mix(rest);
  }
  void add(const std::string& text) { add(text.data(), text.size()); }
  std::string hex() const {
    char out[17];
    std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(state_ ^ state_ >> 29));
    return out;
  }

 private:
  void mix(std::uint64_t word) { state_ = std::rotl((state_ ^ word) * 0x9E3779B97F4A7C15ull, 27); }
  std::uint64_t state_ = 0xcbf29ce484222325ull;
};

std::string checksum(const TensorFile& file) {
  Hash hash;
  for (const auto& [key, value] : file.metadata)
    if (key != kChecksum) {
      hash.add(key);
      hash.add(value);
    }
  for (const auto& [name, tensor] : file.tensors) {
    hash.add(name);
    hash.add(type_name(tensor.dtype()) + tensor.shape().text());
    hash.add(tensor.raw(), tensor.bytes());
  }
  return hash.hex();
}

std::string header_of(const TensorFile& file) {
  std::string json = "{\"__metadata__\":{";
  for (const auto& [key, value] : file.metadata)
    if (key != kChecksum) json += json_text(key) + ":" + json_text(value) + ",";
  json += json_text(kChecksum) + ":" + json_text(checksum(file)) + "}";
  std::size_t offset = 0;
  for (const auto& [name, tensor] : file.tensors) {
    json += "," + json_text(name) + ":{\"dtype\":\"" + type_name(tensor.dtype()) + "\",\"shape\":[";
    for (int i = 0; i < tensor.shape().rank(); ++i) json += (i ? "," : "") + std::to_string(tensor.dim(i));
    json += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + tensor.bytes()) + "]}";
    offset += tensor.bytes();
  }
  json += "}";
  while ((json.size() + 8) % 64 != 0) json += ' ';
  return json;
}

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw CheckpointError(
      str(path, ": ", problem, "; the file is damaged or no safetensors file: take an earlier checkpoint"));
}

struct Entry {
  std::string name;
  DType type = DType::f32;
  Shape shape;
  std::uint64_t begin = 0, end = 0;
};

Shape shape_of(const std::string& path, const std::string& name, simdjson::dom::array sizes) {
  std::int64_t s[Shape::kMaxRank] = {};
  std::size_t rank = 0;
  std::uint64_t numel = 1;
  constexpr std::uint64_t kMost = 1ull << 40;
  for (auto size : sizes) {
    std::uint64_t n = 0;
    if (rank == Shape::kMaxRank || size.get(n) != simdjson::SUCCESS || n > kMost || (n != 0 && numel > kMost / n))
      refuse(path, "tensor '" + name + "' has a shape that is no shape (at most four sizes, 2^40 elements)");
    numel *= n;
    s[rank++] = static_cast<std::int64_t>(n);
  }
  switch (rank) {
    case 0: return {};
    case 1: return {s[0]};
    case 2: return {s[0], s[1]};
    case 3: return {s[0], s[1], s[2]};
    default: return {s[0], s[1], s[2], s[3]};
  }
}

Entry entry_of(const std::string& path, std::string_view name, simdjson::dom::element value, std::uint64_t data_bytes) {
  Entry entry;
  entry.name = name;
  std::string_view type;
  simdjson::dom::array sizes, offsets;
  if (value["dtype"].get(type) != simdjson::SUCCESS || value["shape"].get(sizes) != simdjson::SUCCESS ||
      value["data_offsets"].get(offsets) != simdjson::SUCCESS || offsets.size() != 2 ||
      offsets.at(0).get(entry.begin) != simdjson::SUCCESS || offsets.at(1).get(entry.end) != simdjson::SUCCESS)
    refuse(path, "tensor '" + entry.name + "' lacks dtype, shape or two data_offsets");
  bool known = false;
  for (const auto& t : kTypes)
    if (type == t.name) {
      entry.type = t.type;
      known = true;
    }
  if (!known)
    refuse(path,
           "tensor '" + entry.name + "' has dtype " + std::string(type) + ", expected F32, F64, BF16, I32, I64 or U8");
  entry.shape = shape_of(path, entry.name, sizes);
  const auto bytes = static_cast<std::uint64_t>(entry.shape.numel()) * size_of(entry.type);
  if (entry.begin > entry.end || entry.end > data_bytes)
    refuse(path, str("tensor '", entry.name, "' lies at ", entry.begin, "..", entry.end, ", the file has ", data_bytes,
                     " bytes of data"));
  if (entry.end - entry.begin != bytes)
    refuse(path, str("tensor '", entry.name, "' has ", entry.end - entry.begin, " bytes, its shape ",
                     entry.shape.text(), " needs ", bytes));
  return entry;
}

// The tensors must lie side by side: no overlap, no hole, nothing after them.
void check_cover(const std::string& path, const std::map<std::uint64_t, Entry>& by_offset, std::uint64_t data_bytes) {
  std::uint64_t next = 0;
  for (const auto& [begin, entry] : by_offset) {
    if (begin != next) refuse(path, "tensor '" + entry.name + "' overlaps another or leaves a hole");
    next = entry.end;
  }
  if (next != data_bytes) refuse(path, str("the tensors cover ", next, " of ", data_bytes, " bytes of data"));
}

void read_metadata(const std::string& path, simdjson::dom::element value, TensorFile& file) {
  simdjson::dom::object facts;
  if (value.get(facts) != simdjson::SUCCESS) refuse(path, "__metadata__ is no object");
  for (auto [name, fact] : facts) {
    std::string_view text;
    if (fact.get(text) != simdjson::SUCCESS) refuse(path, "metadata '" + std::string(name) + "' is no text");
    file.metadata[std::string(name)] = text;
  }
}

void check_checksum(const std::string& path, TensorFile& file, bool need_checksum) {
  const auto stated = file.metadata.find(kChecksum);
  if (stated == file.metadata.end()) {
    if (need_checksum) refuse(path, "no checksum");
    return;
  }
  if (stated->second != checksum(file))
    refuse(path, "checksum " + checksum(file) + ", the file says " + stated->second);
  file.metadata.erase(stated);
}

}  // namespace

void write_safetensors(const std::string& path, const TensorFile& file) {
  const std::string header = header_of(file);
  write_atomically(path, [&](std::ostream& out) {
    const std::uint64_t length = header.size();  // little-endian machines only, as the format
    out.write(reinterpret_cast<const char*>(&length), 8);
    out << header;
    for (const auto& [name, tensor] : file.tensors)
      out.write(static_cast<const char*>(tensor.raw()), static_cast<std::streamsize>(tensor.bytes()));
  });
}

TensorFile read_safetensors(const std::string& path, bool need_checksum) {
  const std::string bytes = read_file(path);
  if (bytes.size() < 8) refuse(path, str("only ", bytes.size(), " bytes"));
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > bytes.size() - 8) refuse(path, str("header of ", length, " bytes in a file of ", bytes.size()));
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (parser.parse(bytes.data() + 8, length).get(root) != simdjson::SUCCESS)
    refuse(path, "the header is no JSON object");
  const std::uint64_t data_bytes = bytes.size() - 8 - length;
  const char* data = bytes.data() + 8 + length;

  TensorFile file;
  std::map<std::uint64_t, Entry> by_offset;
  for (auto [key, value] : root) {
    if (key == "__metadata__") {
      read_metadata(path, value, file);
      continue;
    }
    const Entry entry = entry_of(path, key, value, data_bytes);
    Tensor tensor(entry.shape, entry.type);
    if (tensor.bytes() > 0) std::memcpy(tensor.raw(), data + entry.begin, tensor.bytes());
    if (!file.tensors.emplace(entry.name, tensor).second)
      refuse(path, "tensor '" + entry.name + "' stands there twice");
    if (entry.end > entry.begin && !by_offset.emplace(entry.begin, entry).second)
      refuse(path, "tensor '" + entry.name + "' overlaps another");
  }
  check_cover(path, by_offset, data_bytes);
  check_checksum(path, file, need_checksum);
  return file;
}

}  // namespace tessera
