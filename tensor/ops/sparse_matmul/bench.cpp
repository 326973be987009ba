#include <benchmark/benchmark.h>

#include <algorithm>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

// As large as Gowalla's training part, columns by a power law: 29,858 rows, 40,981 columns, 810,000 entries.
SparseMatrix matrix() {
  Random random(1, 1);
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> column;
  for (int row = 0; row < 29858; ++row) {
    for (int i = 0; i < 27; ++i) {
      const double u = random.uniform();
      column.push_back(static_cast<std::int32_t>(40981 * u * u));
    }
    std::sort(column.end() - 27, column.end());
    offset.push_back(static_cast<std::int64_t>(column.size()));
  }
  return {29858, 40981, offset, column};
}

void both_ways(benchmark::State& state) {
  const SparseMatrix a = matrix();
  Tensor users({29858, state.range(0)}), items({40981, state.range(0)});
  fill_normal(users, 0, 1, 1, 1);
  fill_normal(items, 0, 1, 1, 2);
  for (auto _ : state) {
    benchmark::DoNotOptimize(sparse_matmul(a, items));
    benchmark::DoNotOptimize(sparse_matmul(a, users, true));
  }
}

// 2,048 rows of the product and the backward from them.
void some_rows(benchmark::State& state) {
  const SparseMatrix a = matrix();
  Tensor items({40981, state.range(0)}), seed({2048, state.range(0)});
  fill_normal(items, 0, 1, 1, 2);
  fill_normal(seed, 0, 1, 1, 3);
  std::vector<std::int32_t> rows;
  for (std::int32_t i = 0; i < 2048; ++i) rows.push_back(i * 14);
  for (auto _ : state) {
    Tape tape;
    tape.backward(sparse_matmul_rows(a, tape.watch(items), rows), seed);
  }
}

}  // namespace

BENCHMARK(both_ways)->Name("sparse_matmul")->Arg(64)->Arg(128)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(some_rows)->Name("sparse_matmul_rows")->Arg(64)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace tessera
