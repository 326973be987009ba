#include <benchmark/benchmark.h>

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/attention/attention.h"

namespace tessera {
namespace {

std::vector<std::int64_t> equal_offsets(std::int64_t sequences, std::int64_t length) {
  std::vector<std::int64_t> offset;
  for (std::int64_t b = 0; b <= sequences; ++b) offset.push_back(b * length);
  return offset;
}

// Lengths 2 .. 50, mean about 7: the users of Beauty.
std::vector<std::int64_t> short_offsets(std::int64_t sequences) {
  Random random(1, 1);
  std::vector<std::int64_t> offset = {0};
  for (std::int64_t b = 0; b < sequences; ++b) {
    std::int64_t n = 2;
    while (n < 50 && random.below(6) != 0) ++n;
    offset.push_back(offset.back() + n);
  }
  return offset;
}

void run(benchmark::State& state, const std::vector<std::int64_t>& offset, std::int64_t width, double rope,
         bool backward) {
  AttentionOptions options;
  options.heads = 4;
  options.rope_base = rope;
  Tensor qkv({offset.back(), 3 * options.heads * width}), dy({offset.back(), options.heads * width});
  fill_normal(qkv, 0, 1, 1, 1);
  fill_normal(dy, 0, 1, 1, 2);
  for (auto _ : state) {
    if (!backward) {
      benchmark::DoNotOptimize(self_attention(qkv, offset, options).raw());
      continue;
    }
    Tape tape;
    tape.backward(self_attention(tape.watch(qkv), offset, options), dy);
  }
  double pairs = 0;  // scores that the causal mask leaves
  for (std::size_t b = 1; b < offset.size(); ++b) {
    const auto n = static_cast<double>(offset[b] - offset[b - 1]);
    pairs += n * (n + 1) / 2;
  }
  const double products = backward ? 7 : 2;
  state.counters["GFLOP/s"] = benchmark::Counter(products * 2 * pairs * 4 * static_cast<double>(width) * 1e-9,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

// 256 sequences of 80 rows, 4 heads: the flat training step.
void flat_forward(benchmark::State& state) { run(state, equal_offsets(256, 80), state.range(0), 0, false); }
void flat_step(benchmark::State& state) { run(state, equal_offsets(256, 80), state.range(0), 0, true); }
void flat_step_rope(benchmark::State& state) { run(state, equal_offsets(256, 80), state.range(0), 10000, true); }
void short_step(benchmark::State& state) { run(state, short_offsets(512), state.range(0), 0, true); }
void long_step(benchmark::State& state) { run(state, equal_offsets(4, 1000), state.range(0), 0, true); }

// One level of beam search: 50 beams of each of 64 users (or of one), history 80, two own rows.
void beam(benchmark::State& state) {
  const std::int64_t users = state.range(0), beams = 50;
  AttentionOptions options;
  options.heads = 4;
  Tensor q({users * beams, 128}), own({users * beams * 2, 128}), past({users * 80, 128});
  std::uint64_t stream = 0;
  for (Tensor* t : {&q, &own, &past}) fill_normal(*t, 0, 1, 1, ++stream);
  std::vector<std::int32_t> row;
  for (std::int64_t c = 0; c < users * beams; ++c) row.push_back(static_cast<std::int32_t>(c / beams));
  const auto offset = equal_offsets(users, 80);
  for (auto _ : state)
    benchmark::DoNotOptimize(extend_attention(q, own, own, 2, past, past, offset, row, options).raw());
}

}  // namespace

BENCHMARK(flat_forward)->Arg(32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(flat_step)->Arg(16)->Arg(32)->Arg(64)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(flat_step_rope)->Arg(32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(short_step)->Arg(16)->Arg(32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(long_step)->Arg(32)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK(beam)->Arg(1)->Arg(64)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace tessera
