#include "tensor/ops/norm/norm.h"

#include <benchmark/benchmark.h>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

// Rows of the flat training step, width 128.
template <class F>
void run(benchmark::State& state, bool backward, F&& f) {
  Tensor x({20480, 128}), gain({128}), bias({128}), dy({20480, 128});
  std::uint64_t stream = 0;
  for (Tensor* t : {&x, &gain, &bias, &dy}) fill_normal(*t, 0, 1, 1, ++stream);
  for (auto _ : state) {
    Tape tape;
    const Tensor y = f(tape.watch(x), tape.watch(gain), tape.watch(bias));
    if (backward) tape.backward(y, dy);
    benchmark::DoNotOptimize(y.raw());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(x.bytes()) * (backward ? 5 : 2));
}

void layer_forward(benchmark::State& state) {
  run(state, false, [](const Tensor& x, const Tensor& gain, const Tensor& bias) { return layer_norm(x, gain, bias); });
}
void layer_step(benchmark::State& state) {
  run(state, true, [](const Tensor& x, const Tensor& gain, const Tensor& bias) { return layer_norm(x, gain, bias); });
}
void rms_step(benchmark::State& state) {
  run(state, true, [](const Tensor& x, const Tensor& gain, const Tensor&) { return rms_norm(x, gain); });
}

}  // namespace

BENCHMARK(layer_forward)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(layer_step)->UseRealTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(rms_step)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace tessera
