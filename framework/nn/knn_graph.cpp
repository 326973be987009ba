#include "framework/nn/knn_graph.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/topk/topk.h"

namespace tessera {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

SparseMatrix knn_graph(const Tensor& x, int k, bool weighted) {
  check(x.shape().rank() == 2, "knn_graph: x ", x.shape().text(), ", expected (items, width)");
  check(k >= 1, "knn_graph: k is ", k, ", expected 1 or more");
  const NoTape no_tape;
  const std::int64_t items = x.rows(), width = x.columns();
  const auto each = at(std::min<std::int64_t>(k, items));
  const Tensor unit = l2_normalize(x.detach().to(DType::f32));
  const TopK nearest = topk_inner_product(unit, unit, static_cast<int>(each), {}, {}, {});
  std::vector<std::int32_t> column = nearest.index;
  std::vector<float> value(column.size(), 1.0f);
  parallel_rows(items, 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto first = at(i) * each;
      std::sort(column.begin() + static_cast<std::ptrdiff_t>(first),
                column.begin() + static_cast<std::ptrdiff_t>(first + each));
      if (!weighted) continue;
      const float* own = unit.data<float>() + i * width;
      for (std::size_t e = first; e < first + each; ++e) {
        const float* other = unit.data<float>() + column[e] * width;
        double dot = 0.0;
        for (std::int64_t d = 0; d < width; ++d) dot += static_cast<double>(own[d]) * static_cast<double>(other[d]);
        value[e] = static_cast<float>(dot);
      }
    }
  });
  std::vector<std::int64_t> offset(at(items) + 1);
  for (std::size_t i = 0; i < offset.size(); ++i) offset[i] = static_cast<std::int64_t>(i * each);
  return {items, items, std::move(offset), std::move(column), std::move(value)};
}

SparseMatrix symmetric_normalized(const SparseMatrix& a) {
  check(a.rows() == a.columns(), "symmetric_normalized: a (", a.rows(), ", ", a.columns(), ") is not square");
  const SparseMatrix::Half& rows = a.by_rows();
  std::vector<double> root(at(a.rows()), 0.0);
  for (std::size_t r = 0; r < root.size(); ++r) {
    double sum = 0.0;
    for (auto e = at(rows.offset[r]); e < at(rows.offset[r + 1]); ++e) sum += static_cast<double>(rows.value[e]);
    root[r] = sum > 0.0 ? 1.0 / std::sqrt(sum) : 0.0;
  }
  std::vector<float> value(rows.value);
  for (std::size_t r = 0; r < root.size(); ++r)
    for (auto e = at(rows.offset[r]); e < at(rows.offset[r + 1]); ++e)
      value[e] =
          static_cast<float>(static_cast<double>(value[e]) * root[r] * root[static_cast<std::size_t>(rows.index[e])]);
  return {a.rows(), a.columns(), rows.offset, rows.index, std::move(value)};
}

SparseMatrix weighted_sum(const std::vector<SparseMatrix>& graphs, const std::vector<double>& weights) {
  check(!graphs.empty() && graphs.size() == weights.size(), "weighted_sum: ", graphs.size(), " graphs and ",
        weights.size(), " weights");
  const std::int64_t lines = graphs[0].rows(), columns = graphs[0].columns();
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> column;
  std::vector<float> value;
  std::vector<std::pair<std::int32_t, double>> row;
  for (std::int64_t r = 0; r < lines; ++r) {
    row.clear();
    for (std::size_t m = 0; m < graphs.size(); ++m) {
      check(graphs[m].rows() == lines && graphs[m].columns() == columns, "weighted_sum: graph ", m, " is (",
            graphs[m].rows(), ", ", graphs[m].columns(), "), the first (", lines, ", ", columns, ")");
      const SparseMatrix::Half& half = graphs[m].by_rows();
      for (auto e = at(half.offset[at(r)]); e < at(half.offset[at(r) + 1]); ++e)
        row.emplace_back(half.index[e], weights[m] * static_cast<double>(half.value[e]));
    }
    std::stable_sort(row.begin(), row.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < row.size();) {
      double sum = 0.0;
      const std::int32_t where = row[i].first;
      for (; i < row.size() && row[i].first == where; ++i) sum += row[i].second;
      column.push_back(where);
      value.push_back(static_cast<float>(sum));
    }
    offset.push_back(static_cast<std::int64_t>(column.size()));
  }
  return {lines, columns, std::move(offset), std::move(column), std::move(value)};
}

}  // namespace tessera
