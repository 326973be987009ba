#include "tensor/gemm/gemm.h"

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "tensor/core/parallel.h"

namespace tessera {
namespace {

// Rates at 1024^3, at a Transformer's layers (20,480 rows) forward, for the input and for the weights, and of small
// products with a long sum. Every backend of this build, one and two threads.
struct Named {
  const char* name;
  GemmShape shape;
};
constexpr Named kShapes[] = {{"square", {false, false, 1024, 1024, 1024}}, {"up", {false, false, 20480, 512, 128}},
                             {"down", {false, false, 20480, 128, 512}},    {"qkv", {false, false, 20480, 384, 128}},
                             {"head", {false, false, 20480, 1032, 128}},   {"up_dx", {false, true, 20480, 128, 512}},
                             {"up_dw", {true, false, 128, 512, 20480}},    {"narrow_dw", {true, false, 64, 64, 20000}},
                             {"catalogue", {false, true, 256, 12101, 64}}};

template <class T>
void rate(benchmark::State& state, const GemmShape& s, const std::string& backend, int thread_count) {
  set_threads(thread_count);
  set_gemm_backend(backend);
  const std::vector<T> a(static_cast<std::size_t>(s.m * s.k), T(0.5)), b(static_cast<std::size_t>(s.k * s.n), T(0.25));
  std::vector<T> c(static_cast<std::size_t>(s.m * s.n));
  for (auto _ : state)
    gemm(s, T(1), a.data(), s.transpose_a ? s.m : s.k, b.data(), s.transpose_b ? s.k : s.n, T(0), c.data(), s.n);
  const double flop = 2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
  state.counters["FLOP/s"] =
      benchmark::Counter(flop * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

const bool registered = [] {
  for (const Named& each : kShapes)
    for (const int n : {1, 2}) {
      const auto add = [&](const std::string& backend) {
        const std::string name = std::string("gemm/") + each.name + "/" + backend + "/threads:" + std::to_string(n);
        benchmark::RegisterBenchmark(name.c_str(), rate<float>, each.shape, backend, n)->UseRealTime();
      };
      for (const std::string& backend : gemm_backends()) add(backend);
    }
  return true;
}();

}  // namespace
}  // namespace tessera
