#include "framework/data/text.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "framework/data/dataset.h"

namespace tessera {

LineReader::LineReader(const std::string& path) : path_(path), file_(nullptr, &std::fclose), buffer_(1 << 20) {
  if (std::filesystem::is_directory(path)) throw DataError(str(path, ": is a folder, expected a file"));
  file_.reset(std::fopen(path.c_str(), "rb"));
  if (!file_) throw DataError(str(path, ": cannot be opened: ", std::strerror(errno)));
}

LineReader::~LineReader() = default;

// Moves the rest to the front and reads more behind it; false at the end of the file.
bool LineReader::fill() {
  if (begin_ > 0) std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  if (end_ == buffer_.size()) buffer_.resize(2 * buffer_.size());
  const std::size_t read = std::fread(buffer_.data() + end_, 1, buffer_.size() - end_, file_.get());
  if (read == 0 && std::ferror(file_.get()) != 0)
    throw DataError(str(path_, ": reading failed after line ", number_, ": ", std::strerror(errno)));
  end_ += read;
  return read > 0;
}

bool LineReader::next(std::string_view& line) {
  std::size_t searched = 0;
  const char* end = nullptr;
  while (true) {
    end = static_cast<const char*>(std::memchr(buffer_.data() + begin_ + searched, '\n', end_ - begin_ - searched));
    if (end != nullptr) break;
    searched = end_ - begin_;
    if (!fill()) break;
  }
  if (end == nullptr && begin_ == end_) return false;
  const char* begin = buffer_.data() + begin_;
  const bool has_end = end != nullptr;
  if (!has_end) end = buffer_.data() + end_;
  begin_ = static_cast<std::size_t>(end - buffer_.data()) + (has_end ? 1 : 0);
  if (end > begin && end[-1] == '\r') --end;
  line = {begin, static_cast<std::size_t>(end - begin)};
  ++number_;
  return true;
}

std::vector<std::string_view> split_at(std::string_view line, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t at = line.find(separator);
    parts.push_back(line.substr(0, at));
    if (at == std::string_view::npos) return parts;
    line.remove_prefix(at + 1);
  }
}

std::vector<std::string_view> split_words(std::string_view line) {
  constexpr std::string_view kBlanks = " \t";
  std::vector<std::string_view> words;
  while (true) {
    const std::size_t begin = line.find_first_not_of(kBlanks);
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    const std::size_t end = std::min(line.find_first_of(kBlanks), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_number(std::string_view text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return out + (text.size() > kShown ? "...'" : "'");
}

}  // namespace tessera
