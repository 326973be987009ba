#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// Collects bad records while a file is read: "reviews.json:17: 'overall' is missing; expected a number 1 .. 5".
// Not thread-safe.
class TESSERA_API Rejects {
 public:
  explicit Rejects(bool skip_bad = false) : skip_bad_(skip_bad) {}
  void add(const std::string& file, std::int64_t record, const std::string& problem);
  // Call at the end of a file (or of a check): throws DataError with the first ten and a count of the rest, and says
  // --skip-bad; with skip_bad, returns and keeps the count.
  void finish();
  std::int64_t count() const { return count_; }  // all so far
  const std::vector<std::string>& first() const { return first_; }
  bool skip_bad() const { return skip_bad_; }

 private:
  bool skip_bad_;
  std::int64_t count_ = 0, reported_ = 0;
  std::vector<std::string> first_;
};

}  // namespace tessera
