#include <benchmark/benchmark.h>

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/anchor_attention/anchor_attention.h"

namespace tessera {
namespace {

// 8 histories of n items, 4 tokens and an anchor each, 4 heads of 32.
void run(benchmark::State& state, AnchorMask mask, bool backward) {
  AnchorOptions options;
  options.heads = 4;
  options.block = 5;
  options.mask = mask;
  const std::int64_t n = state.range(0);
  std::vector<std::int64_t> offset;
  for (std::int64_t b = 0; b <= 8; ++b) offset.push_back(b * n);
  Tensor qkv({offset.back() * 5, 3 * 128}), dy({offset.back() * 5, 128});
  fill_normal(qkv, 0, 1, 1, 1);
  fill_normal(dy, 0, 1, 1, 2);
  for (auto _ : state) {
    if (!backward) {
      benchmark::DoNotOptimize(anchor_attention(qkv, offset, {}, options).raw());
      continue;
    }
    Tape tape;
    tape.backward(anchor_attention(tape.watch(qkv), offset, {}, options), dy);
  }
  const auto items = static_cast<double>(n), far = static_cast<double>(options.far_rows());
  const double pairs = 8 * 4 * (items * 15 + 5 * far * items * (items - 1) / 2), products = backward ? 7 : 2;
  state.counters["GFLOP/s"] =
      benchmark::Counter(products * 2 * pairs * 32 * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void anchors_forward(benchmark::State& state) { run(state, AnchorMask::base, false); }
void anchors_step(benchmark::State& state) { run(state, AnchorMask::base, true); }
void full_forward(benchmark::State& state) { run(state, AnchorMask::full, false); }
void full_step(benchmark::State& state) { run(state, AnchorMask::full, true); }

// 100 candidates against a cached history of n items.
void candidates(benchmark::State& state) {
  AnchorOptions options;
  options.heads = 4;
  options.block = 5;
  const std::int64_t n = state.range(0);
  Tensor qkv({500, 3 * 128}), past({n, 256});
  fill_normal(qkv, 0, 1, 1, 1);
  fill_normal(past, 0, 1, 1, 2);
  const std::vector<std::int32_t> row(100, 0);
  const std::vector<std::int64_t> seen(100, n), offset = {0, n};
  for (auto _ : state) benchmark::DoNotOptimize(anchor_attention_past(qkv, past, offset, row, seen, options).raw());
}

BENCHMARK(anchors_forward)->Arg(75)->Arg(300)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(anchors_step)->Arg(75)->Arg(300)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(full_forward)->Arg(75)->Arg(300)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(full_step)->Arg(75)->Arg(300)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(candidates)->Arg(300)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace tessera
