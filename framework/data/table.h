#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "framework/data/rejects.h"
#include "framework/data/text.h"
#include "tensor/core/export.h"

namespace tessera {

// A file of records with tab-separated fields and a header of column names, `name` or `name:type` as RecBole's atomic
// files have it. Records with another number of fields go to `rejects`; blank lines are passed over.
class TESSERA_API TableReader {
 public:
  // Throws DataError where the file cannot be opened or has no header. With `names`, the file has no header and these
  // are its columns.
  TableReader(const std::string& path, Rejects& rejects, std::vector<std::string> names = {});

  const std::vector<std::string>& names() const { return names_; }
  const std::vector<std::string>& types() const { return types_; }  // "" where the header tells none
  int find(std::initializer_list<std::string_view> names) const;    // column of the first name that is there, or -1
  int require(std::initializer_list<std::string_view> names)
      const;                                         // the same; throws DataError with the columns that are there
  bool next(std::vector<std::string_view>& fields);  // valid until the next call
  std::int64_t number() const { return lines_.number(); }
  const std::string& path() const { return lines_.path(); }
  void reject(const std::string& problem) { rejects_.add(path(), number(), problem); }

 private:
  LineReader lines_;
  Rejects& rejects_;
  std::vector<std::string> names_, types_;
};

}  // namespace tessera
