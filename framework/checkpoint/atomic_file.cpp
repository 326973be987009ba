#include "framework/checkpoint/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tessera {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& call) {
  throw Error(str(path, ": cannot ", call, ": ", std::strerror(errno), "; the previous file, if any, is unchanged"));
}

void sync_path(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags);
  if (file < 0) fail(path, "open for fsync");
  const bool synced = ::fsync(file) == 0;
  ::close(file);
  if (!synced) fail(path, "fsync");
}

}  // namespace

void write_atomically(const std::string& path, const std::function<void(std::ostream&)>& write) {
  const std::string temporary = path + ".writing";
  try {
    errno = 0;
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) fail(temporary, "create");
    write(out);
    out.close();
    if (!out) fail(temporary, "write");
    sync_path(temporary, O_RDONLY);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail(path, "rename onto it");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  const auto folder = std::filesystem::path(path).parent_path();
  sync_path(folder.empty() ? "." : folder.string(), O_RDONLY | O_DIRECTORY);
}

std::string read_file(const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(str(path, ": cannot open: ", std::strerror(errno)));
  std::ostringstream out;
  out << in.rdbuf();
  if (in.bad()) throw Error(str(path, ": cannot read: ", std::strerror(errno)));
  return std::move(out).str();
}

}  // namespace tessera
