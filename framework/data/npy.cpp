#include "framework/data/npy.h"

#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "framework/checkpoint/atomic_file.h"
#include "framework/data/dataset.h"
#include "framework/data/text.h"

namespace tessera {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr std::size_t kMagicSize = 6;
constexpr std::uintmax_t kLongestHeader = 1 << 16;

struct Header {
  std::string dtype;  // "<f2"
  bool fortran = false;
  std::vector<std::int64_t> shape;
};

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw DataError(str(path, ": ", problem));
}

// The text after 'key': in the header's dictionary, which NumPy always writes on one line.
std::string_view value_of(const std::string& path, std::string_view dictionary, const std::string& key) {
  const std::size_t at = dictionary.find("'" + key + "'");
  if (at == std::string_view::npos) refuse(path, str("the header has no '", key, "': ", in_quotes(dictionary)));
  const std::size_t begin = dictionary.find_first_not_of(": ", at + key.size() + 2);
  return begin == std::string_view::npos ? std::string_view() : dictionary.substr(begin);
}

Header parse_header(const std::string& path, std::string_view dictionary) {
  Header header;
  const auto descr = value_of(path, dictionary, "descr");
  if (descr.empty() || descr[0] != '\'') refuse(path, str("the type is no plain number: ", in_quotes(descr)));
  header.dtype = std::string(descr.substr(1, descr.find('\'', 1) - 1));
  header.fortran = value_of(path, dictionary, "fortran_order").starts_with("True");
  auto sizes = value_of(path, dictionary, "shape");
  const std::size_t close = sizes.find(')');
  if (!sizes.starts_with('(') || close == std::string_view::npos)
    refuse(path, str("the shape is unreadable: ", in_quotes(sizes)));
  for (const auto part : split_at(sizes.substr(1, close - 1), ',')) {
    const auto words = split_words(part);
    if (words.empty()) continue;
    const auto size = parse_integer(words[0]);
    if (!size || *size < 0 || *size > std::int64_t{1} << 40)
      refuse(path, str("the shape is unreadable: ", in_quotes(sizes)));
    header.shape.push_back(*size);
  }
  return header;
}

Header read_header(const std::string& path, std::ifstream& file, std::uintmax_t file_size) {
  char fixed[12] = {};
  file.read(fixed, 10);
  if (!file || std::memcmp(fixed, kMagic, kMagicSize) != 0) refuse(path, "is no .npy file (its first bytes differ)");
  const auto byte = [&](int i) { return static_cast<std::uintmax_t>(static_cast<unsigned char>(fixed[i])); };
  const auto version = byte(6);
  if (version < 1 || version > 3) refuse(path, str("has .npy version ", version, ", expected 1, 2 or 3"));
  if (version > 1) file.read(fixed + 10, 2);
  const std::uintmax_t length = byte(8) | byte(9) << 8 | (version > 1 ? byte(10) << 16 | byte(11) << 24 : 0);
  if (!file || length > kLongestHeader || length > file_size) refuse(path, "is cut off within its header");
  std::string dictionary(length, '\0');
  file.read(dictionary.data(), static_cast<std::streamsize>(length));
  if (!file) refuse(path, "is cut off within its header");
  return parse_header(path, dictionary);
}

float from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16, exponent = (half >> 10) & 31u,
                      fraction = half & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = static_cast<float>(fraction) * 0x1.0p-24f;
  return sign != 0 ? -small : small;
}

// Reads numbers of the file's type piece by piece and stores them as the tensor's.
template <class From, class To, class Convert>
void read_numbers(std::ifstream& file, To* to, std::int64_t count, Convert&& convert) {
  constexpr std::int64_t kPiece = 1 << 16;
  std::vector<From> piece(static_cast<std::size_t>(std::min(count, kPiece)));
  for (std::int64_t done = 0; done < count; done += kPiece) {
    const std::int64_t n = std::min(kPiece, count - done);
    file.read(reinterpret_cast<char*>(piece.data()), n * static_cast<std::int64_t>(sizeof(From)));
    for (std::int64_t i = 0; i < n; ++i) to[done + i] = convert(piece[static_cast<std::size_t>(i)]);
  }
}

struct FileType {
  const char* name;
  std::int64_t bytes;
  DType becomes;
};
constexpr FileType kTypes[] = {{"<f2", 2, DType::f32},
                               {"<f4", 4, DType::f32},
                               {"<f8", 8, DType::f32},
                               {"<i4", 4, DType::i32},
                               {"<i8", 8, DType::i64}};

const FileType& type_named(const std::string& path, const std::string& name) {
  for (const auto& type : kTypes)
    if (name == type.name) return type;
  refuse(path, str("holds numbers of type '", name, "', expected <f2, <f4, <f8, <i4 or <i8"));
}

template <class T>
T same(T value) {
  return value;
}

struct OpenFile {
  std::ifstream file;
  std::string dtype;
  Shape shape;
};

// Opens the file, checks its header against its size and stands before the first number.
OpenFile open_checked(const std::string& path) {
  std::error_code error;
  const std::uintmax_t file_size = std::filesystem::file_size(path, error);
  if (error) refuse(path, str("cannot be opened: ", error.message()));
  OpenFile out;
  out.file.open(path, std::ios::binary);
  if (!out.file) refuse(path, str("cannot be opened: ", std::strerror(errno)));
  const Header header = read_header(path, out.file, file_size);
  if (header.fortran) refuse(path, "is in Fortran order, expected C order (save numpy.ascontiguousarray of it)");
  if (header.shape.empty() || header.shape.size() > 2)
    refuse(path, str("has ", header.shape.size(), " dimensions, expected 1 or 2"));
  std::int64_t expected = type_named(path, header.dtype).bytes;
  for (const std::int64_t size : header.shape)
    if (__builtin_mul_overflow(expected, size, &expected)) refuse(path, "has a shape beyond any memory");
  const std::int64_t found = static_cast<std::int64_t>(file_size) - static_cast<std::int64_t>(out.file.tellg());
  out.shape = header.shape.size() == 1 ? Shape{header.shape[0]} : Shape{header.shape[0], header.shape[1]};
  out.dtype = header.dtype;
  if (found != expected)
    refuse(path, str("holds ", found, " bytes of numbers, but its shape ", out.shape.text(), " of '", header.dtype,
                     "' needs ", expected, found < expected ? "; the file is cut off" : ""));
  return out;
}

}  // namespace

Shape npy_shape(const std::string& path) { return open_checked(path).shape; }

Tensor read_npy(const std::string& path) {
  auto [file, dtype, shape] = open_checked(path);
  Tensor out(shape, type_named(path, dtype).becomes);
  const std::int64_t n = out.numel();
  if (dtype == "<f2") read_numbers<std::uint16_t>(file, out.data<float>(), n, from_half);
  if (dtype == "<f4") read_numbers<float>(file, out.data<float>(), n, same<float>);
  if (dtype == "<f8") read_numbers<double>(file, out.data<float>(), n, [](double x) { return static_cast<float>(x); });
  if (dtype == "<i4") read_numbers<std::int32_t>(file, out.data<std::int32_t>(), n, same<std::int32_t>);
  if (dtype == "<i8") read_numbers<std::int64_t>(file, out.data<std::int64_t>(), n, same<std::int64_t>);
  if (!file) refuse(path, "could not be read to its end");
  return out;
}

void write_npy(const std::string& path, const Tensor& values) {
  const char* name = nullptr;
  if (values.dtype() == DType::f32) name = "<f4";
  if (values.dtype() == DType::f64) name = "<f8";
  if (values.dtype() == DType::i32) name = "<i4";
  if (values.dtype() == DType::i64) name = "<i8";
  check(name != nullptr, "write_npy: ", path, ": numbers are ", name_of(values.dtype()),
        ", expected f32, f64, i32 or i64");
  const Tensor host = values.to(Device::cpu());
  std::string shape;
  for (int axis = 0; axis < host.shape().rank(); ++axis) shape += str(host.dim(axis), axis == 0 ? "," : "", " ");
  while (!shape.empty() && (shape.back() == ' ' || (shape.back() == ',' && host.shape().rank() > 1))) shape.pop_back();
  std::string header = str("{'descr': '", name, "', 'fortran_order': False, 'shape': (", shape, "), }");
  constexpr std::size_t kAlign = 64, kFixed = 10;
  while ((kFixed + header.size() + 1) % kAlign != 0) header += ' ';
  header += '\n';
  write_atomically(path, [&](std::ostream& out) {
    const char rest[4] = {1, 0, static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
    out.write(kMagic, kMagicSize);
    out.write(rest, 4);
    out << header;
    out.write(static_cast<const char*>(host.raw()), static_cast<std::streamsize>(host.bytes()));
  });
}

}  // namespace tessera
