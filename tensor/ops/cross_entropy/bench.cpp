#include "tensor/ops/cross_entropy/cross_entropy.h"

#include <benchmark/benchmark.h>

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

// Loss and gradients of rows x classes logits from states of a width; `fused` false: with all logits in memory.
void loss_step(benchmark::State& state, bool fused) {
  set_threads(2);
  const std::int64_t rows = state.range(0), classes = state.range(1), width = state.range(2);
  Tensor h({rows, width}), w({classes, width});
  fill_normal(h, 0.0, 1.0, 1, 1);
  fill_normal(w, 0.0, 0.1, 1, 2);
  Random random(1, 3);
  std::vector<std::int32_t> target(static_cast<std::size_t>(rows));
  for (auto& t : target) t = static_cast<std::int32_t>(random.below(classes));
  for (auto _ : state) {
    Tape tape;
    const Tensor x = tape.watch(h), y = tape.watch(w);
    tape.backward(fused ? linear_cross_entropy(x, y, {}, target) : cross_entropy(matmul(x, y, false, true), target));
  }
  const double flop = 6.0 * static_cast<double>(h.numel()) * static_cast<double>(classes);
  state.counters["FLOP/s"] =
      benchmark::Counter(flop * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK_CAPTURE(loss_step, fused, true)->Args({20480, 1032, 128})->Args({1500, 12101, 64})->UseRealTime();
BENCHMARK_CAPTURE(loss_step, all_logits, false)->Args({20480, 1032, 128})->Args({1500, 12101, 64})->UseRealTime();

}  // namespace
}  // namespace tessera
