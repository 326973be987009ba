#include <cstdio>

#include "tensor/core/error.h"
#include "tools/bench/bench.h"

// tessera_bench WORKLOAD [--name value ...]: runs one workload, prints one line of JSON.
int main(int count, char** values) {
  using tessera::bench::workloads;
  const auto chosen = count < 2 ? workloads().end() : workloads().find(values[1]);
  if (chosen == workloads().end()) {
    std::fprintf(stderr, "usage: tessera_bench WORKLOAD [--threads N] [--repeat N] [--warmup N] [--seed N] ...\n");
    for (const auto& [name, entry] : workloads()) std::fprintf(stderr, "  %-12s %s\n", name.c_str(), entry.summary);
    return 2;
  }
  try {
    tessera::bench::Arguments arguments(count - 2, values + 2);
    chosen->second.run(arguments);
    return 0;
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
