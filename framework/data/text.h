#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/core/export.h"

// Reading text files line by line, for the data sources.
namespace tessera {

// The lines of a file without their ends (LF or CR LF); the last one may lack its end. Reads 1 MiB at a time.
class TESSERA_API LineReader {
 public:
  explicit LineReader(const std::string& path);  // throws DataError where the file cannot be opened
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool next(std::string_view& line);               // valid until the next call; throws DataError where reading fails
  std::int64_t number() const { return number_; }  // of the line that next() gave last, from 1
  const std::string& path() const { return path_; }

 private:
  bool fill();

  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t number_ = 0;
};

TESSERA_API std::vector<std::string_view> split_at(std::string_view line, char separator);  // "a,,b" gives three
TESSERA_API std::vector<std::string_view> split_words(std::string_view line);               // at runs of blanks
TESSERA_API std::optional<std::int64_t> parse_integer(std::string_view text);  // the whole text, or nothing
TESSERA_API std::optional<double> parse_number(std::string_view text);         // finite, or nothing
TESSERA_API std::string in_quotes(std::string_view text);  // 'text', cut after 40 bytes, control characters as ?

}  // namespace tessera
