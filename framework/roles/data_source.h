#pragma once

#include "framework/data/dataset.h"
#include "framework/data/rejects.h"
#include "framework/roles/context.h"

namespace tessera {

// Reads or makes a dataset: items with raw fields, interactions in time order per user, the given split where the
// format has one. Features come from featurizers; a source only names files (Dataset::files). Options: paths, formats.
// Stateless after load.
class TESSERA_API DataSource {
 public:
  static constexpr const char* kRole = "data";
  static constexpr const char* kTables[] = {
      "files"};  // [data.files], modality = "path": the pipeline adds them to Dataset::files
  virtual ~DataSource();
  // Bad records go to `rejects`: it throws DataError with the first ten at the end of each file, or counts them where
  // the user said --skip-bad. The result passes validate(). Paths in options are relative to the working directory.
  virtual Dataset load(Rejects& rejects, FitContext& context) = 0;
};

}  // namespace tessera
