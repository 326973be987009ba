#pragma once

#include <cstdint>
#include <string>

#include "framework/config/config.h"

namespace tessera {

// [run] of the configuration: how and where, never what.
struct RunOptions {
  std::string device = "cpu";
  int threads = 0;
  std::int64_t seed = 1;
  std::string gemm = "auto";
  std::string out;

  template <class V>
  void describe(V& v) {
    v("device", device, "where tensors live", {"cpu"});
    v("threads", threads, "threads; 0: one a core. The results are the same bits for any number", 0, 1024);
    v("seed", seed, "seed of everything random", 0, 9223372036854775807);
    v("gemm", gemm,
      "what multiplies matrices (the manifest says); auto: amx where there is one, else the faster library",
      {"auto", "eigen", "onednn", "amx"});
    v("out", out, "run directory; --out comes first");
  }
};

// [catalog] of the configuration.
struct CatalogOptions {
  std::string policy = "none";

  template <class V>
  void describe(V& v) {
    v("policy", policy, "how codes become unique identifiers", {"none", "counter", "popularity", "repair"});
  }
};

}  // namespace tessera
