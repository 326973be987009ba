#include "tensor/ops/dropout/dropout.h"

#include <benchmark/benchmark.h>

#include "tensor/core/random.h"

namespace tessera {
namespace {

void forward(benchmark::State& state) {  // the residual branch of the flat training step
  Tensor x({20480, 128}), r({20480, 128});
  fill_normal(x, 0, 1, 1, 1);
  fill_normal(r, 0, 1, 1, 2);
  TrainingScope scope(1, 1);
  for (auto _ : state) benchmark::DoNotOptimize(add_dropout(x, r, 0.1).raw());
}

}  // namespace

BENCHMARK(forward)->Name("add_dropout")->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace tessera
