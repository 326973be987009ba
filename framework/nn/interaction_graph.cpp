#include "framework/nn/interaction_graph.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Edges of each line.
std::vector<double> degrees(const SparseMatrix::Half& half) {
  std::vector<double> degree(at(half.lines()));
  for (std::size_t line = 0; line < degree.size(); ++line)
    degree[line] = static_cast<double>(half.offset[line + 1] - half.offset[line]);
  return degree;
}

}  // namespace

SparseMatrix interaction_graph(const Dataset& data, EdgeWeights weights) {
  const Interactions& all = data.interactions;
  check(all.part.size() == all.item.size(), "interaction_graph: '", data.name, "' has ", all.part.size(), " parts for ",
        all.item.size(), " interactions; call split() first");
  std::vector<std::int64_t> offset{0};
  offset.reserve(all.offset.size());
  std::vector<std::int32_t> item;
  for (std::int64_t user = 0; user < all.users(); ++user) {
    const auto begin = static_cast<std::ptrdiff_t>(item.size());
    for (std::int64_t i = all.begin(user); i < all.end(user); ++i)
      if (all.part[at(i)] == Part::train) item.push_back(all.item[at(i)]);
    std::sort(item.begin() + begin, item.end());
    item.erase(std::unique(item.begin() + begin, item.end()), item.end());
    offset.push_back(static_cast<std::int64_t>(item.size()));
  }
  const SparseMatrix graph(all.users(), data.item_count(), std::move(offset), std::move(item));
  return weights == EdgeWeights::ones ? graph : weighted(graph, weights);
}

SparseMatrix weighted(const SparseMatrix& graph, EdgeWeights weights) {
  const SparseMatrix::Half& rows = graph.by_rows();
  std::vector<float> value(rows.index.size(), 1.0f);
  if (weights != EdgeWeights::ones) {
    const std::vector<double> row = degrees(rows), column = degrees(graph.by_columns());
    for (std::size_t r = 0; r < row.size(); ++r)
      for (auto e = at(rows.offset[r]); e < at(rows.offset[r + 1]); ++e) {
        const double other = column[static_cast<std::size_t>(rows.index[e])];
        value[e] = static_cast<float>(weights == EdgeWeights::symmetric   ? 1.0 / std::sqrt(row[r] * other)
                                      : weights == EdgeWeights::user_mean ? 1.0 / row[r]
                                                                          : 1.0 / other);
      }
  }
  return {graph.rows(), graph.columns(), rows.offset, rows.index, std::move(value)};
}

SparseMatrix drop_edges(const SparseMatrix& graph, double share, std::uint64_t seed, std::uint64_t stream) {
  check(share >= 0.0 && share < 1.0, "drop_edges: share ", share, ", expected 0 or more, and less than 1");
  const SparseMatrix::Half& rows = graph.by_rows();
  const std::vector<double> row = degrees(rows), column = degrees(graph.by_columns());
  const std::vector<std::int32_t> row_of = graph.row_of_entries();
  const std::int64_t edges = graph.entries();
  const auto kept = static_cast<std::int64_t>(std::floor((1.0 - share) * static_cast<double>(edges)));
  // The kept-th smallest key bounds who stays; equal keys go by number.
  std::vector<double> key(at(edges));
  parallel_rows(edges, 4096, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t e = begin; e < end; ++e) {
      const auto word = philox(seed, stream, static_cast<std::uint64_t>(e));
      const double u = (static_cast<double>(word[0]) + static_cast<double>(word[1]) * 0x1p-32 + 0x1p-33) * 0x1p-32;
      key[at(e)] = -std::log(u) * std::sqrt(row[static_cast<std::size_t>(row_of[at(e)])] *
                                            column[static_cast<std::size_t>(rows.index[at(e)])]);
    }
  });
  std::vector<std::int32_t> order(at(edges));
  std::iota(order.begin(), order.end(), 0);
  const auto smaller = [&](std::int32_t a, std::int32_t b) {
    const double x = key[static_cast<std::size_t>(a)], y = key[static_cast<std::size_t>(b)];
    return x < y || (x == y && a < b);
  };
  std::nth_element(order.begin(), order.begin() + kept, order.end(), smaller);
  order.resize(at(kept));
  std::sort(order.begin(), order.end());
  std::vector<std::int64_t> offset(rows.offset.size(), 0);
  std::vector<std::int32_t> index;
  index.reserve(order.size());
  for (const std::int32_t e : order) {
    ++offset[static_cast<std::size_t>(row_of[static_cast<std::size_t>(e)]) + 1];
    index.push_back(rows.index[static_cast<std::size_t>(e)]);
  }
  for (std::size_t r = 1; r < offset.size(); ++r) offset[r] += offset[r - 1];
  return {graph.rows(), graph.columns(), std::move(offset), std::move(index)};
}

std::pair<Tensor, Tensor> light_gcn(const SparseMatrix& graph, const Tensor& users, const Tensor& items, int layers) {
  Tensor u = users, i = items, user_sum = users, item_sum = items;
  for (int layer = 0; layer < layers; ++layer) {
    const Tensor next = sparse_matmul(graph, i);
    i = sparse_matmul(graph, u, true);
    u = next;
    user_sum = add(user_sum, u);
    item_sum = add(item_sum, i);
  }
  if (layers == 0) return {users, items};
  return {scale(user_sum, 1.0 / (layers + 1)), scale(item_sum, 1.0 / (layers + 1))};
}

// A layer's rows are taken before the next layer is made: its gradient then begins with the full product of the next
// one, and the rows are added to it in place.
std::pair<Tensor, Tensor> light_gcn_rows(const SparseMatrix& graph, const Tensor& users, const Tensor& items,
                                         int layers, std::span<const std::int32_t> user_rows,
                                         std::span<const std::int32_t> item_rows) {
  Tensor u = users, i = items;
  Tensor user_sum = gather_rows(users, user_rows), item_sum = gather_rows(items, item_rows);
  for (int layer = 1; layer < layers; ++layer) {
    const Tensor next = sparse_matmul(graph, i);
    i = sparse_matmul(graph, u, true);
    u = next;
    user_sum = add(user_sum, gather_rows(u, user_rows));
    item_sum = add(item_sum, gather_rows(i, item_rows));
  }
  if (layers == 0) return {user_sum, item_sum};
  user_sum = add(user_sum, sparse_matmul_rows(graph, i, user_rows));
  item_sum = add(item_sum, sparse_matmul_rows(graph, u, item_rows, true));
  return {scale(user_sum, 1.0 / (layers + 1)), scale(item_sum, 1.0 / (layers + 1))};
}

Distinct distinct(std::span<const std::int32_t> numbers, std::int64_t count) {
  std::vector<std::int32_t> place(at(count), -1);
  for (const std::int32_t number : numbers) {
    check(number >= 0 && number < count, "distinct: ", number, ", expected 0 .. ", count - 1);
    place[static_cast<std::size_t>(number)] = 0;
  }
  Distinct out;
  for (std::size_t number = 0; number < place.size(); ++number) {
    if (place[number] < 0) continue;
    place[number] = static_cast<std::int32_t>(out.rows.size());
    out.rows.push_back(static_cast<std::int32_t>(number));
  }
  out.place.reserve(numbers.size());
  for (const std::int32_t number : numbers) out.place.push_back(place[static_cast<std::size_t>(number)]);
  return out;
}

}  // namespace tessera
