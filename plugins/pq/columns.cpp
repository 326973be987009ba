#include "plugins/pq/columns.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>

#include "tensor/core/error.h"

namespace tessera {
namespace {

bool is_constant(const Tensor& x, std::int64_t column) {
  const std::int64_t width = x.columns();
  const float* at = x.data<float>() + column;
  for (std::int64_t i = 1, rows = x.rows(); i < rows; ++i)
    if (at[i * width] != at[0]) return false;
  return true;
}

// A weighted sum of the column: the same for equal columns, and for hardly any others.
double sum_of(const Tensor& x, std::int64_t column) {
  const std::int64_t width = x.columns();
  const float* at = x.data<float>() + column;
  double sum = 0.0;
  for (std::int64_t i = 0, rows = x.rows(); i < rows; ++i)
    sum += static_cast<double>(at[i * width]) * (1.0 + static_cast<double>(i % 97) / 97.0);
  return sum;
}

bool equal(const Tensor& x, std::int64_t a, std::int64_t b) {
  const std::int64_t width = x.columns();
  const float* at = x.data<float>();
  for (std::int64_t i = 0, rows = x.rows(); i < rows; ++i)
    if (at[i * width + a] != at[i * width + b]) return false;
  return true;
}

}  // namespace

std::vector<std::string> remarks_on_columns(const Tensor& x) {
  struct Found {
    std::int64_t count = 0, first = -1, like = -1;
  };
  Found constant, duplicate;
  std::multimap<double, std::int64_t> seen;
  for (std::int64_t j = 0; j < x.columns(); ++j) {
    if (is_constant(x, j)) {
      if (constant.count++ == 0) constant.first = j;
      continue;
    }
    const double sum = sum_of(x, j);
    std::optional<std::int64_t> like;
    const auto [begin, end] = seen.equal_range(sum);
    for (auto other = begin; other != end && !like; ++other)
      if (equal(x, j, other->second)) like = other->second;
    if (like && duplicate.count++ == 0) duplicate.first = j, duplicate.like = *like;
    seen.emplace(sum, j);
  }
  std::vector<std::string> remarks;
  if (constant.count > 0)
    remarks.push_back(str("column ", constant.first, " is constant (", constant.count, " of ", x.columns(),
                          " columns are): it tells no items apart"));
  if (duplicate.count > 0)
    remarks.push_back(str("column ", duplicate.first, " equals column ", duplicate.like, " (", duplicate.count, " of ",
                          x.columns(), " columns repeat an earlier one): it counts twice"));
  return remarks;
}

int constant_part(const Tensor& x, int subspaces) {
  const std::int64_t width = x.columns() / subspaces;
  for (int m = 0; m < subspaces; ++m) {
    bool constant = true;
    for (std::int64_t j = m * width; constant && j < (m + 1) * width; ++j) constant = is_constant(x, j);
    if (constant) return m;
  }
  return -1;
}

}  // namespace tessera
