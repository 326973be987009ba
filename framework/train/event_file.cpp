#include "framework/train/event_file.h"

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "framework/checkpoint/atomic_file.h"

namespace tessera {
namespace {

std::string little_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

// Protocol buffer fields: tag = number << 3 | wire type (0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes).
std::string field_varint(int number, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(number) << 3) + varint(value);
}
std::string field_double(int number, double value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 1) + little_endian(std::bit_cast<std::uint64_t>(value), 8);
}
std::string field_float(int number, float value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 5) + little_endian(std::bit_cast<std::uint32_t>(value), 4);
}
std::string field_bytes(int number, const std::string& value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(value.size()) + value;
}

std::uint32_t masked_crc(const std::string& bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string record(const std::string& event) {
  const std::string length = little_endian(event.size(), 8);
  return length + little_endian(masked_crc(length), 4) + event + little_endian(masked_crc(event), 4);
}

}  // namespace

std::uint32_t crc32c(const std::string& bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

// The wall time of each event is its step: files of equal runs are equal byte by byte.
EventFile::EventFile(std::string path) : path_(std::move(path)) {
  records_ = record(field_double(1, 0.0) + field_bytes(3, "brain.Event:2"));
}

void EventFile::add(std::int64_t step, const std::string& tag, double value) {
  const std::string scalar = field_bytes(1, tag) + field_float(2, static_cast<float>(value));
  records_ += record(field_double(1, static_cast<double>(step)) + field_varint(2, static_cast<std::uint64_t>(step)) +
                     field_bytes(5, field_bytes(1, scalar)));
}

void EventFile::flush() {
  write_atomically(path_, [&](std::ostream& out) { out << records_; });
}

}  // namespace tessera
