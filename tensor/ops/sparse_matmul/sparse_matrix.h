#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/core/export.h"

namespace tessera {

// A matrix with few entries that never change, held by rows and by columns at once (CSR and the CSR of its transpose).
// So a product with it and one with its transpose both go row by row: a row of the result is summed by one thread in
// the order of the entries, without atomics and with the same bits for any number of threads. Entries are numbered by
// rows: those of row r are offset[r] .. offset[r + 1] - 1; tensors of edge values (E) are in this order. Two entries of
// one place add up. Copying copies the handle; thread-safe.
class TESSERA_API SparseMatrix {
 public:
  // One of the two orders.
  struct Half {
    std::vector<std::int64_t> offset;  // (lines + 1): a line is a row, or a column
    std::vector<std::int32_t> index;   // (E) column of the entry, or its row (rising in a line)
    std::vector<float> value;          // (E)
    std::vector<std::int32_t> entry;   // (E) number of the entry; empty where it is its place
    std::vector<std::int64_t> tiles;   // lines where pieces of like work begin, and their end
    std::int64_t lines() const { return static_cast<std::int64_t>(offset.size()) - 1; }
  };

  SparseMatrix() = default;  // none
  // offset (rows + 1), column (E), value (E) or empty: 1 each. Throws Error where they do not fit.
  SparseMatrix(std::int64_t rows, std::int64_t columns, std::vector<std::int64_t> offset,
               std::vector<std::int32_t> column, std::vector<float> value = {});

  explicit operator bool() const { return data_ != nullptr; }
  std::int64_t rows() const { return data_ ? data_->by_rows.lines() : 0; }
  std::int64_t columns() const { return data_ ? data_->by_columns.lines() : 0; }
  std::int64_t entries() const { return data_ ? static_cast<std::int64_t>(data_->by_rows.index.size()) : 0; }
  const Half& by_rows() const { return data_->by_rows; }
  const Half& by_columns() const { return data_->by_columns; }
  std::vector<std::int32_t> row_of_entries() const;  // (E)
  std::span<const std::int32_t> column_of_entries() const { return data_->by_rows.index; }

 private:
  struct Data {
    Half by_rows, by_columns;
  };
  std::shared_ptr<const Data> data_;
};

// Where pieces of like work begin, and their end, of lines with offset[i] .. offset[i + 1] entries.
TESSERA_API std::vector<std::int64_t> even_tiles(std::span<const std::int64_t> offset);

}  // namespace tessera
