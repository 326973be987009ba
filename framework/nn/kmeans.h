#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/roles/context.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

struct KMeansOptions {
  int codes = 256;          // K
  int iterations = 50;      // Lloyd rounds at most; ends earlier when no row changes its code
  int restarts = 1;         // runs from different seeds; the one of least error wins
  double balance = 0.0;     // while learning, no cluster larger than balance * N / K rows (1 or more); 0: no bound
  std::int64_t sample = 0;  // learn from this many rows at most, drawn at random; 0: all
};

struct KMeans {
  Tensor centres;                   // (K, D)
  std::vector<std::int32_t> codes;  // (N) the nearest centre of each row
  double error = 0.0;               // mean squared distance to it
  int iterations = 0;               // of the run that won
};

// Lloyd's rounds from k-means++ seeds (Arthur and Vassilvitskii 2007), or from `start` (K, D) where given. A centre
// that lost all rows moves to the row farthest from its own centre. x: (N, D) f32. A pure function of its arguments,
// context.seed and name, for any number of threads. Throws Error where N is less than K, Stopped where context.stop()
// says so.
TESSERA_API KMeans kmeans(const Tensor& x, const KMeansOptions& options, const FitContext& context,
                          const std::string& name, const Tensor& start = {});

// Squared distance of each row to the centre of its code, (N). Rows of code -1 give 0.
TESSERA_API std::vector<float> code_distances(const Tensor& x, const Tensor& centres,
                                              const std::vector<std::int32_t>& codes);

// Rows of each code, rising: those of code k are order[begin[k]] .. order[begin[k + 1] - 1]. Rows of code -1 are left
// out.
struct CodeMembers {
  std::vector<std::int64_t> begin;  // (K + 1)
  std::vector<std::int32_t> order;
};
TESSERA_API CodeMembers members_of(const std::vector<std::int32_t>& codes, int count);

}  // namespace tessera
