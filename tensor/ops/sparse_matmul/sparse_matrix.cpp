#include "tensor/ops/sparse_matmul/sparse_matrix.h"

#include <algorithm>
#include <limits>

#include "tensor/core/agree.h"
#include "tensor/core/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kTileEntries = 4096;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// The other order of the same entries: a counting sort by index, so a line's entries come by rising line of `from`.
SparseMatrix::Half transposed(const SparseMatrix::Half& from, std::int64_t lines) {
  SparseMatrix::Half to;
  to.offset.assign(at(lines) + 1, 0);
  for (const std::int32_t index : from.index) ++to.offset[static_cast<std::size_t>(index) + 1];
  for (std::size_t line = 1; line < to.offset.size(); ++line) to.offset[line] += to.offset[line - 1];
  to.index.resize(from.index.size());
  to.value.resize(from.index.size());
  to.entry.resize(from.index.size());
  std::vector<std::int64_t> next(to.offset.begin(), to.offset.end() - 1);
  for (std::int64_t line = 0; line < from.lines(); ++line)
    for (std::int64_t e = from.offset[at(line)]; e < from.offset[at(line) + 1]; ++e) {
      const auto place = at(next[static_cast<std::size_t>(from.index[at(e)])]++);
      to.index[place] = static_cast<std::int32_t>(line);
      to.value[place] = from.value[at(e)];
      to.entry[place] = static_cast<std::int32_t>(e);
    }
  to.tiles = even_tiles(to.offset);
  return to;
}

}  // namespace

std::vector<std::int64_t> even_tiles(std::span<const std::int64_t> offset) {
  std::vector<std::int64_t> tiles{0};
  const auto lines = static_cast<std::int64_t>(offset.size()) - 1;
  std::int64_t work = 0;
  for (std::int64_t line = 0; line < lines; ++line) {
    work += offset[at(line) + 1] - offset[at(line)] + 1;
    if (work < kTileEntries && line + 1 < lines) continue;
    tiles.push_back(line + 1);
    work = 0;
  }
  return tiles;
}

SparseMatrix::SparseMatrix(std::int64_t rows, std::int64_t columns, std::vector<std::int64_t> offset,
                           std::vector<std::int32_t> column, std::vector<float> value) {
  const auto entries = static_cast<std::int64_t>(column.size());
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  check(rows >= 0 && columns >= 0 && rows <= kMost && columns <= kMost, "sparse_matrix: ", rows, " rows and ", columns,
        " columns, expected 0 .. ", kMost);
  check(entries <= kMost, "sparse_matrix: ", entries, " entries, expected at most ", kMost);
  check(static_cast<std::int64_t>(offset.size()) == rows + 1, "sparse_matrix: offset has ", offset.size(),
        " numbers for ", rows, " rows, expected ", rows + 1);
  check_offset("sparse_matrix", offset, entries, "column");
  check(value.empty() || value.size() == column.size(), "sparse_matrix: ", value.size(), " values for ", entries,
        " entries");
  for (std::size_t e = 0; e < column.size(); ++e)
    check(column[e] >= 0 && column[e] < columns, "sparse_matrix: column[", e, "] is ", column[e], ", expected 0 .. ",
          columns - 1);
  auto data = std::make_shared<Data>();
  Half& by_rows = data->by_rows;
  by_rows.offset = std::move(offset);
  by_rows.index = std::move(column);
  by_rows.value = std::move(value);
  if (by_rows.value.empty()) by_rows.value.assign(by_rows.index.size(), 1.0f);
  by_rows.tiles = even_tiles(by_rows.offset);
  data->by_columns = transposed(by_rows, columns);
  data_ = std::move(data);
}

std::vector<std::int32_t> SparseMatrix::row_of_entries() const {
  std::vector<std::int32_t> row(at(entries()));
  for (std::int64_t r = 0; r < rows(); ++r)
    std::fill(row.begin() + by_rows().offset[at(r)], row.begin() + by_rows().offset[at(r) + 1],
              static_cast<std::int32_t>(r));
  return row;
}

}  // namespace tessera
