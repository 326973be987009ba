#include "tensor/ops/embedding/embedding.h"

#include <benchmark/benchmark.h>

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

// 20480 tokens of width 128 from a table of K rows.
void step(benchmark::State& state) {
  Random random(1, 1);
  std::vector<std::int32_t> ids(20480);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(state.range(0)));
  Tensor table({state.range(0), 128}), dy({20480, 128});
  fill_normal(table, 0, 1, 1, 1);
  fill_normal(dy, 0, 1, 1, 2);
  for (auto _ : state) {
    Tape tape;
    tape.backward(embedding(tape.watch(table), ids), dy);
  }
}

}  // namespace

BENCHMARK(step)->Name("embedding_step")->Arg(1032)->Arg(12101)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace tessera
