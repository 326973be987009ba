#include "framework/serve/user_memory.h"

#ifndef TESSERA_WITH_ROCKSDB
#include <filesystem>

// A build without RocksDB: every way in says so.
namespace tessera {
namespace {
[[noreturn]] void lacking() {
  throw MemoryError("user memory: this build has no RocksDB; install librocksdb-dev and build again");
}
}  // namespace

struct UserMemory::Impl {
  MemoryFacts facts;
  std::string folder;
};
UserMemory::UserMemory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UserMemory::~UserMemory() = default;
UserMemory::UserMemory(UserMemory&&) noexcept = default;
bool UserMemory::holds(const std::string& folder) { return std::filesystem::exists(folder + "/user_memory"); }
UserMemory UserMemory::create(const std::string&, const MemoryFacts&) { lacking(); }
UserMemory UserMemory::open(const std::string&, Access) { lacking(); }
const MemoryFacts& UserMemory::facts() const { return impl_->facts; }
const std::string& UserMemory::folder() const { return impl_->folder; }
void UserMemory::require_model(const std::string&, const std::string&) const { lacking(); }
std::optional<MemoryRow> UserMemory::find(const std::string&) const { lacking(); }
void UserMemory::write(std::span<const Row>, const std::pair<std::string, AppliedFile>*) { lacking(); }
std::vector<std::pair<std::string, AppliedFile>> UserMemory::applied_files() const { lacking(); }
std::string UserMemory::new_file() const { lacking(); }
void UserMemory::for_each(const std::function<void(const std::string&, const MemoryRow&, std::size_t)>&) const {
  lacking();
}
std::uint64_t UserMemory::bytes_on_disk() const { lacking(); }
void UserMemory::finish() { lacking(); }

}  // namespace tessera

#else

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace tessera {
namespace {

namespace fs = std::filesystem;
constexpr const char* kMark = "/user_memory";  // the file that says what the folder is, and that locks are taken on
constexpr const char* kFormat = "1";
// First letters of keys.
constexpr char kFact = 'f', kFile = 'l', kUser = 'u';

std::string key_of(char kind, const std::string& name) { return kind + name; }

void must(const rocksdb::Status& status, const std::string& folder, const char* call) {
  if (status.ok()) return;
  if (status.IsCorruption() || status.IsNotFound() || status.IsInvalidArgument())
    throw MemoryError(str("user memory ", folder, " is damaged: cannot ", call, ": ", status.ToString(),
                          "; bring it back from a copy, or build it anew with  tessera memory build"));
  throw MemoryError(str("user memory ", folder, ": cannot ", call, ": ", status.ToString()));
}

rocksdb::Options options_of(bool creates) {
  rocksdb::Options options;
  options.create_if_missing = creates;
  options.error_if_exists = creates;
  options.compression = rocksdb::kNoCompression;  // floats do not shrink
  options.enable_blob_files = true;               // rows are large: only their keys take part in compaction
  options.min_blob_size = 1024;
  options.enable_blob_garbage_collection = true;
  options.paranoid_checks = true;
  // What a killed process was just writing may be cut; anything else that is wrong with the log is an error.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.info_log_level = rocksdb::InfoLogLevel::ERROR_LEVEL;
  options.keep_log_file_num = 1;
  options.max_open_files = 512;
  return options;
}

// An advisory lock on the mark: one writer, or any number of readers.
class Lock {
 public:
  Lock(const std::string& folder, bool writes, bool creates) {
    const std::string path = folder + kMark;
    file_ = ::open(path.c_str(), (creates ? O_CREAT | O_RDWR : O_RDONLY) | O_CLOEXEC, 0644);
    if (file_ < 0) throw MemoryError(str("user memory ", folder, ": cannot open ", path, ": ", std::strerror(errno)));
    if (::flock(file_, (writes ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) return;
    const int reason = errno;
    ::close(file_);
    if (reason != EWOULDBLOCK)
      throw MemoryError(str("user memory ", folder, ": cannot lock it: ", std::strerror(reason)));
    throw MemoryError(str("user memory ", folder, " is in use: another process ",
                          writes ? "reads or writes it" : "writes it", "; wait until it has ended"));
  }
  ~Lock() { ::close(file_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int file_ = -1;
};

std::string text_of(const MemoryFacts& facts) {
  return str(kFormat, "\n", facts.model_hash, "\n", facts.pipeline, "\n", facts.run, "\n", facts.times, " ",
             facts.actions, "\n");
}

MemoryFacts facts_of(const std::string& text, const std::string& folder) {
  std::istringstream in(text);
  MemoryFacts facts;
  std::string format;
  std::getline(in, format);
  if (format != kFormat)
    throw MemoryError(str("user memory ", folder, " has the format '", format, "', this program reads ", kFormat,
                          "; build it anew with  tessera memory build"));
  std::getline(in, facts.model_hash);
  std::getline(in, facts.pipeline);
  std::getline(in, facts.run);
  in >> facts.times >> facts.actions;
  if (in.fail()) throw MemoryError(str("user memory ", folder, " is damaged: its facts are cut"));
  return facts;
}

void sync_folder(const fs::path& folder) {
  const int file = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  ::fsync(file);
  ::close(file);
}

}  // namespace

struct UserMemory::Impl {
  std::string folder, building;  // building: where a new one grows; empty for one that stands
  MemoryFacts facts;
  std::unique_ptr<Lock> lock;
  std::unique_ptr<rocksdb::DB> db;
  bool writes = false;

  const std::string& place() const { return building.empty() ? folder : building; }

  void open_database(bool creates) {
    rocksdb::DB* opened = nullptr;
    const auto options = options_of(creates);
    must(
        writes ? rocksdb::DB::Open(options, place(), &opened) : rocksdb::DB::OpenForReadOnly(options, place(), &opened),
        place(), "open it");
    db.reset(opened);
  }

  template <class F>
  void scan(char kind, F&& f) const {
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
    for (it->Seek(std::string(1, kind)); it->Valid() && it->key()[0] == kind; it->Next())
      f(it->key().ToString().substr(1), it->value().ToStringView());
    must(it->status(), folder, "read it");
  }
};

UserMemory::UserMemory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
UserMemory::UserMemory(UserMemory&&) noexcept = default;

UserMemory::~UserMemory() {
  if (!impl_ || impl_->building.empty()) return;
  impl_->db.reset();
  std::error_code ignored;
  fs::remove_all(impl_->building, ignored);
}

bool UserMemory::holds(const std::string& folder) {
  std::error_code ignored;
  return fs::exists(folder + kMark, ignored);
}

UserMemory UserMemory::create(const std::string& folder, const MemoryFacts& facts) {
  std::error_code error;
  if (fs::exists(folder, error)) throw MemoryError(str(folder, " exists already; remove it, or give another folder"));
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->building = folder + ".building";
  impl->facts = facts;
  impl->writes = true;
  if (fs::exists(impl->building, error)) {  // what a killed build left
    if (!holds(impl->building)) throw MemoryError(str(impl->building, " is in the way; move it elsewhere"));
    const Lock unused(impl->building, true, false);
    fs::remove_all(impl->building, error);
  }
  fs::create_directories(impl->building, error);
  if (error) throw MemoryError(str("user memory: the folder ", impl->building, " cannot be made: ", error.message()));
  impl->lock = std::make_unique<Lock>(impl->building, true, true);
  impl->open_database(true);
  must(impl->db->Put(rocksdb::WriteOptions(), key_of(kFact, ""), text_of(facts)), folder, "write it");
  return UserMemory(std::move(impl));
}

UserMemory UserMemory::open(const std::string& folder, Access access) {
  if (!holds(folder))
    throw MemoryError(str(folder, " holds no user memory; make one with  tessera memory build RUN --out ", folder));
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->writes = access == Access::write;
  impl->lock = std::make_unique<Lock>(folder, impl->writes, false);
  impl->open_database(false);
  std::string text;
  must(impl->db->Get(rocksdb::ReadOptions(), key_of(kFact, ""), &text), folder, "read its facts");
  impl->facts = facts_of(text, folder);
  return UserMemory(std::move(impl));
}

const MemoryFacts& UserMemory::facts() const { return impl_->facts; }
const std::string& UserMemory::folder() const { return impl_->folder; }

void UserMemory::require_model(const std::string& model_hash, const std::string& run) const {
  const MemoryFacts& own = impl_->facts;
  if (own.model_hash == model_hash) return;
  throw MemoryError(str("user memory ", impl_->folder, " belongs to another model: it was built by model ",
                        own.model_hash, " (pipeline '", own.pipeline, "', run ", own.run, "), but ", run,
                        " holds model ", model_hash, "; use the run that it was built by, or build a memory of this ",
                        "one with  tessera memory build ", run, " --out DIR"));
}

std::optional<MemoryRow> UserMemory::find(const std::string& user) const {
  std::string value;
  const auto status = impl_->db->Get(rocksdb::ReadOptions(), key_of(kUser, user), &value);
  if (status.IsNotFound()) return std::nullopt;
  must(status, impl_->folder, "read a row");
  try {
    return unpack_row(user, value);
  } catch (const MemoryError& error) {
    throw MemoryError(str("user memory ", impl_->folder, ": ", error.what()));
  }
}

void UserMemory::write(std::span<const Row> rows, const std::pair<std::string, AppliedFile>* file) {
  rocksdb::WriteBatch batch;
  for (const auto& [user, row] : rows) must(batch.Put(key_of(kUser, user), pack_row(user, row)), folder(), "write");
  if (file != nullptr)
    must(batch.Put(key_of(kFile, file->first),
                   str(file->second.bytes, " ", file->second.checksum, " ", file->second.lines)),
         folder(), "write");
  rocksdb::WriteOptions options;
  options.disableWAL = !impl_->building.empty();  // a build that is cut short is thrown away
  options.sync = impl_->building.empty();
  must(impl_->db->Write(options, &batch), folder(), "write");
}

std::vector<std::pair<std::string, AppliedFile>> UserMemory::applied_files() const {
  std::vector<std::pair<std::string, AppliedFile>> files;
  impl_->scan(kFile, [&](const std::string& name, std::string_view value) {
    std::istringstream in{std::string(value)};
    AppliedFile file;
    in >> file.bytes >> file.checksum >> file.lines;
    if (in.fail()) throw MemoryError(str("user memory ", impl_->folder, " is damaged: its list of event files"));
    files.emplace_back(name, file);
  });
  return files;
}

std::string UserMemory::new_file() const {
  std::uint64_t next = 0;
  impl_->scan(kFile, [&](const std::string& name, std::string_view) {
    next = std::max<std::uint64_t>(next, std::stoull(name, nullptr, 16) + 1);
  });
  return hex_of(next);
}

void UserMemory::for_each(const std::function<void(const std::string&, const MemoryRow&, std::size_t)>& f) const {
  impl_->scan(kUser, [&](const std::string& user, std::string_view value) {
    MemoryRow row;
    try {
      row = unpack_row(user, value);
    } catch (const MemoryError& error) {
      throw MemoryError(str("user memory ", impl_->folder, ": ", error.what()));
    }
    f(user, row, value.size());
  });
}

std::uint64_t UserMemory::bytes_on_disk() const {
  std::uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(impl_->place())) {
    std::error_code error;
    const auto size = fs::file_size(entry.path(), error);
    if (!error) bytes += size;
  }
  return bytes;
}

void UserMemory::finish() {
  rocksdb::FlushOptions flush;
  must(impl_->db->Flush(flush), impl_->folder, "write it");
  if (impl_->building.empty()) return;
  must(impl_->db->Close(), impl_->folder, "close it");
  impl_->db.reset();
  std::error_code error;
  fs::rename(impl_->building, impl_->folder, error);
  if (error)
    throw MemoryError(
        str("user memory: ", impl_->building, " cannot be renamed to ", impl_->folder, ": ", error.message()));
  impl_->building.clear();
  sync_folder(fs::path(impl_->folder).parent_path());
  impl_->writes = false;
  impl_->open_database(false);
}

}  // namespace tessera

#endif
