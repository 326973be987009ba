#include "tensor/ops/linear/linear.h"

#include <benchmark/benchmark.h>

#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/feed_forward/feed_forward.h"

namespace tessera {
namespace {

Tensor normal(Shape shape, std::uint64_t stream) {
  Tensor x(shape);
  fill_normal(x, 0.0, 0.1, 1, stream);
  return x;
}

void count_flop(benchmark::State& state, double flop) {
  state.counters["FLOP/s"] =
      benchmark::Counter(flop * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

// Forward and backward of a layer; arguments: rows, inputs, outputs.
void linear_step(benchmark::State& state, Activation activation) {
  set_threads(2);
  const Tensor x = normal({state.range(0), state.range(1)}, 1), w = normal({state.range(1), state.range(2)}, 2);
  const Tensor b = normal({state.range(2)}, 3), dy = normal({state.range(0), state.range(2)}, 4);
  for (auto _ : state) {
    Tape tape;
    tape.backward(linear(tape.watch(x), tape.watch(w), tape.watch(b), activation), dy);
  }
  count_flop(state, 6.0 * static_cast<double>(x.numel()) * static_cast<double>(state.range(2)));
}
BENCHMARK_CAPTURE(linear_step, none, Activation::none)
    ->Args({20480, 128, 384})
    ->Args({1800, 64, 192})
    ->Args({1024, 512, 256})
    ->UseRealTime();
BENCHMARK_CAPTURE(linear_step, gelu, Activation::gelu)->Args({20480, 128, 512})->UseRealTime();

// Both layers of the feed-forward part; `fused` false: as two linears. Arguments: rows, width, middle.
void feed_forward_step(benchmark::State& state, bool fused) {
  set_threads(2);
  const std::int64_t rows = state.range(0), d = state.range(1), f = state.range(2);
  const Tensor x = normal({rows, d}, 1), w1 = normal({d, f}, 2), b1 = normal({f}, 3), w2 = normal({f, d}, 4),
               b2 = normal({d}, 5);
  for (auto _ : state) {
    Tape tape;
    const Tensor p = tape.watch(x), q = tape.watch(w1), r = tape.watch(b1), s = tape.watch(w2), t = tape.watch(b2);
    tape.backward(
        fused ? feed_forward(p, q, r, s, t, Activation::gelu) : linear(linear(p, q, r, Activation::gelu), s, t), x);
  }
  count_flop(state, 12.0 * static_cast<double>(x.numel()) * static_cast<double>(f));
}
BENCHMARK_CAPTURE(feed_forward_step, fused, true)->Args({20480, 128, 512})->Args({1800, 64, 256})->UseRealTime();
BENCHMARK_CAPTURE(feed_forward_step, two_linears, false)->Args({20480, 128, 512})->Args({1800, 64, 256})->UseRealTime();

}  // namespace
}  // namespace tessera
