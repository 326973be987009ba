#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// A user memory that cannot be read, trusted or written: says which, why and what to do.
class TESSERA_API MemoryError : public Error {
 public:
  using Error::Error;
  ~MemoryError() override;
};

// What is kept of one user.
struct MemoryRow {
  std::uint64_t events = 0;         // how many events it has read, from the user's first on
  std::int64_t newest = 0;          // time of the newest one, seconds; 0 where the data have no times
  std::vector<std::int32_t> items;  // what the user has, each once, ascending
  std::vector<Tensor> parts;        // Model::export_row()
};

// The value of a row in the database (README.md has its layout), and back. unpack_row() throws MemoryError, naming the
// user, where the bytes are not what pack_row() wrote for this user: cut, damaged, or another user's.
TESSERA_API std::string pack_row(const std::string& user, const MemoryRow& row);
TESSERA_API MemoryRow unpack_row(const std::string& user, std::string_view bytes);

// 64-bit checksum: any change within one word of eight bytes is found for certain, others but for 1 in 2^64.
TESSERA_API std::uint64_t checksum(std::string_view bytes, std::uint64_t start = 0xcbf29ce484222325ull);
TESSERA_API std::string hex_of(std::uint64_t number);  // 16 digits

}  // namespace tessera
