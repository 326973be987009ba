#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// What a run measured, by step: kept in memory and written as metrics.jsonl, metrics.csv and a TensorBoard event file
// into the run directory, each atomically. A resumed run starts from the rows of its checkpoint, so the files are the
// same as without the break.
class TESSERA_API MetricsLog {
 public:
  struct Row {
    std::int64_t step = 0;
    std::map<std::string, double> values;  // "train/loss", "valid/NDCG@10", ...
  };
  explicit MetricsLog(std::string folder) : folder_(std::move(folder)) {}
  void add(Row row) { rows_.push_back(std::move(row)); }
  const std::vector<Row>& rows() const { return rows_; }
  void write() const;

  std::string text() const;               // the JSON lines, for the checkpoint
  void restore(const std::string& text);  // what text() gave

 private:
  std::string folder_;
  std::vector<Row> rows_;
};

}  // namespace tessera
