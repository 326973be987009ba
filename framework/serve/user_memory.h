#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "framework/serve/memory_row.h"
#include "tensor/core/export.h"

namespace tessera {

// What a user memory was made by and for.
struct MemoryFacts {
  std::string model_hash;               // model_hash() of memory_update.h: weights, catalogue and options
  std::string pipeline, run;            // name of the pipeline, folder of the run
  bool times = false, actions = false;  // whether its events have them
};

// How much of an event file has been read into the memory. Written together with the rows of these events, so it is
// exact whenever a crash comes.
struct AppliedFile {
  std::uint64_t bytes = 0;     // from the file's begin
  std::uint64_t checksum = 0;  // of these bytes
  std::uint64_t lines = 0;     // in them
};

// What a model remembers of users, on disk: rows by original user id, in RocksDB (README.md: layout, guarantees).
// One process writes, or any number read; the others are refused with MemoryError. Not thread-safe.
class TESSERA_API UserMemory {
 public:
  enum class Access : std::uint8_t { read, write };

  static bool holds(const std::string& folder);  // whether this is the folder of a user memory
  // A new one. It grows in FOLDER.building, and stands in `folder` once finish() returns. Throws MemoryError where
  // `folder` is there already, and where this build has no RocksDB.
  static UserMemory create(const std::string& folder, const MemoryFacts& facts);
  static UserMemory open(const std::string& folder, Access access);  // throws MemoryError
  ~UserMemory();
  UserMemory(UserMemory&&) noexcept;
  UserMemory& operator=(UserMemory&&) = delete;

  const MemoryFacts& facts() const;
  const std::string& folder() const;
  // Throws MemoryError that names both models where the memory is another model's than this one.
  void require_model(const std::string& model_hash, const std::string& run) const;

  std::optional<MemoryRow> find(const std::string& user) const;  // throws MemoryError where the row is damaged
  using Row = std::pair<std::string, MemoryRow>;
  // All rows or none. On a memory that open() gave, they survive any crash once this returns. `file`, with the place of
  // its record (new_file() or applied_files()), is written with them.
  void write(std::span<const Row> rows, const std::pair<std::string, AppliedFile>* file = nullptr);
  std::vector<std::pair<std::string, AppliedFile>> applied_files() const;  // place of the record, record
  std::string new_file() const;                                            // a place that is free
  // Every row in order of ids, with the bytes of its value; throws MemoryError at the first damaged one.
  void for_each(const std::function<void(const std::string& user, const MemoryRow& row, std::size_t bytes)>& f) const;
  std::uint64_t bytes_on_disk() const;
  void finish();  // what is in memory goes into files; of a new memory: it is put in place

 private:
  struct Impl;
  explicit UserMemory(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
