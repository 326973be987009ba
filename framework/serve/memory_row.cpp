#include "framework/serve/memory_row.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "framework/data/text.h"

namespace tessera {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie in memory");

constexpr std::uint32_t kMagic = 0x31524d55;  // "UMR1"
constexpr std::uint64_t kPrime = 0x9e3779b97f4a7c15ull;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// Reads what put() wrote; false from the first read beyond the end on.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <class T>
  T take() {
    T value{};
    copy(&value, sizeof value);
    return value;
  }
  void copy(void* to, std::size_t size) {
    if (size > bytes_.size()) {
      good_ = false;
      return;
    }
    if (size > 0) std::memcpy(to, bytes_.data(), size);
    bytes_.remove_prefix(size);
  }
  std::size_t left() const { return bytes_.size(); }
  bool good() const { return good_; }

 private:
  std::string_view bytes_;
  bool good_ = true;
};

[[noreturn]] void damaged(const std::string& user, const std::string& what) {
  throw MemoryError(str("the row of user ", in_quotes(user), " is damaged: ", what));
}

std::optional<Tensor> take_tensor(Reader& in) {
  const auto type = in.take<std::uint8_t>(), rank = in.take<std::uint8_t>();
  if (!in.good() || type > static_cast<std::uint8_t>(DType::u8) || rank < 1 || rank > 2) return std::nullopt;
  std::int64_t dims[2] = {1, 1};
  std::int64_t numbers = 1;
  for (int d = 0; d < rank; ++d) {
    dims[d] = in.take<std::int64_t>();
    if (dims[d] < 0 || dims[d] > (std::int64_t{1} << 31)) return std::nullopt;
    numbers *= dims[d];
  }
  const std::size_t size = size_of(static_cast<DType>(type));
  if (!in.good() || static_cast<std::uint64_t>(numbers) > in.left() / size) return std::nullopt;
  Tensor tensor(rank == 1 ? Shape{dims[0]} : Shape{dims[0], dims[1]}, static_cast<DType>(type));
  if (numbers > 0) in.copy(tensor.raw(), tensor.bytes());
  return tensor;
}

}  // namespace

MemoryError::~MemoryError() = default;

std::uint64_t checksum(std::string_view bytes, std::uint64_t start) {
  std::uint64_t h = start ^ bytes.size() * kPrime;
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = std::min<std::size_t>(8, bytes.size());
    std::memcpy(&word, bytes.data(), size);
    bytes.remove_prefix(size);
    h = std::rotl((h ^ word) * kPrime, 29);
  }
  return h ^ h >> 32;
}

std::string hex_of(std::uint64_t number) {
  std::string text(16, '0');
  for (std::size_t i = 0; i < 16; ++i) text[i] = "0123456789abcdef"[number >> (60 - 4 * i) & 15];
  return text;
}

std::string pack_row(const std::string& user, const MemoryRow& row) {
  std::string out;
  put(out, kMagic);
  put(out, static_cast<std::uint32_t>(row.parts.size()));
  put(out, row.events);
  put(out, row.newest);
  put(out, static_cast<std::uint64_t>(row.items.size()));
  out.append(reinterpret_cast<const char*>(row.items.data()), row.items.size() * sizeof(std::int32_t));
  for (const Tensor& part : row.parts) {
    const int rank = part.shape().rank();
    check(rank == 1 || rank == 2, "user memory: a part of rank ", rank, ", expected 1 or 2");
    put(out, static_cast<std::uint8_t>(part.dtype()));
    put(out, static_cast<std::uint8_t>(rank));
    for (int d = 0; d < rank; ++d) put(out, part.dim(d));
    if (part.bytes() > 0) out.append(static_cast<const char*>(part.raw()), part.bytes());
  }
  put(out, checksum(out, checksum(user)));
  return out;
}

MemoryRow unpack_row(const std::string& user, std::string_view bytes) {
  constexpr std::size_t kSum = sizeof(std::uint64_t);
  if (bytes.size() < kSum + sizeof kMagic) damaged(user, str("it has ", bytes.size(), " bytes"));
  const std::string_view body = bytes.substr(0, bytes.size() - kSum);
  if (Reader(bytes.substr(body.size())).take<std::uint64_t>() != checksum(body, checksum(user)))
    damaged(user, "its checksum does not hold");
  Reader in(body);
  if (in.take<std::uint32_t>() != kMagic) damaged(user, "it is no row of this version");
  MemoryRow row;
  const auto parts = in.take<std::uint32_t>();
  row.events = in.take<std::uint64_t>();
  row.newest = in.take<std::int64_t>();
  const auto items = in.take<std::uint64_t>();
  if (!in.good() || items > in.left() / sizeof(std::int32_t)) damaged(user, "its list of items is cut");
  row.items.resize(items);
  in.copy(row.items.data(), items * sizeof(std::int32_t));
  for (std::uint32_t p = 0; p < parts; ++p) {
    auto part = take_tensor(in);
    if (!part) damaged(user, str("part ", p, " is cut"));
    row.parts.push_back(std::move(*part));
  }
  if (in.left() != 0) damaged(user, str(in.left(), " bytes too many"));
  return row;
}

}  // namespace tessera
