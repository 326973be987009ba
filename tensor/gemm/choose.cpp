#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/gemm/backend.h"

namespace tessera {
namespace {

std::atomic<GemmBackend>& chosen() {
  static std::atomic<GemmBackend> backend{has_amx()      ? GemmBackend::amx
                                          : has_onednn() ? GemmBackend::onednn
                                                         : GemmBackend::eigen};
  return backend;
}

using Multiply = void (*)(const GemmShape&, float, const float*, std::int64_t, const float*, std::int64_t, float,
                          float*, std::int64_t);

// Best seconds of each library, summed over tiles as a Transformer's layers have them: forward, input and weight
// gradient.
void measure(double& eigen, double& onednn) {
  constexpr GemmShape shapes[] = {
      {false, false, 256, 512, 128}, {false, true, 256, 128, 512}, {true, false, 128, 512, 256}};
  const std::vector<float> a(256 * 512, 0.5f), b(256 * 512, 0.25f);
  std::vector<float> c(256 * 512);
  const auto best = [&](const GemmShape& s, Multiply multiply) {
    double seconds = 1e9;
    for (int i = 0; i < 4; ++i) {
      const auto start = std::chrono::steady_clock::now();
      multiply(s, 1.0f, a.data(), s.transpose_a ? s.m : s.k, b.data(), s.transpose_b ? s.k : s.n, 0.0f, c.data(), s.n);
      seconds = std::min(seconds, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return seconds;
  };
  eigen = onednn = 0.0;
  for (const GemmShape& s : shapes) {
    eigen += best(s, static_cast<Multiply>(detail::eigen_gemm));
    onednn += best(s, detail::onednn_gemm);
  }
}

GemmBackend fastest() {
  if (has_amx())
    return GemmBackend::amx;  // a measurement beside other work may differ from run to run, and so would bits
  if (!has_onednn()) return GemmBackend::eigen;
  double eigen = 0.0, onednn = 0.0;
  measure(eigen, onednn);
  return eigen * 1.1 < onednn ? GemmBackend::eigen : GemmBackend::onednn;
}

}  // namespace

void set_gemm_backend(const std::string& name) {
  if (name == "auto") {
    chosen() = fastest();
  } else if (name == "eigen") {
    chosen() = GemmBackend::eigen;
  } else if (name == "onednn") {
    check(has_onednn(),
          "run.gemm: \"onednn\", but this build has no oneDNN; install it and build again, or use \"auto\"");
    chosen() = GemmBackend::onednn;
  } else if (name == "amx") {
    check(has_amx(), "run.gemm: \"amx\", but this processor has no matrix tiles (AMX); use \"auto\"");
    chosen() = GemmBackend::amx;
  } else {
    throw Error(str("run.gemm: \"", name, "\", expected \"auto\", \"eigen\", \"onednn\" or \"amx\""));
  }
}

GemmBackend gemm_backend() { return chosen(); }

const char* gemm_backend_name() {
  switch (gemm_backend()) {
    case GemmBackend::eigen: return "eigen";
    case GemmBackend::onednn: return "onednn";
    case GemmBackend::amx: return "amx";
  }
  return "";
}

const std::vector<std::string>& gemm_backends() {
  static const std::vector<std::string> there = [] {
    std::vector<std::string> names{"eigen"};
    if (has_onednn()) names.push_back("onednn");
    if (has_amx()) names.push_back("amx");
    return names;
  }();
  return there;
}

}  // namespace tessera
