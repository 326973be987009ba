#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Random numbers come from a counter, not from a state: number i of stream s under seed k is a pure function of
// (k, s, i). So they do not depend on threads, on the order of calls, or on where a run was resumed.
// Philox4x32-10 (Salmon et al., SC 2011).
TESSERA_API std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter);

// A sequential reader of one stream, for shuffles and samples.
class TESSERA_API Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}
  std::uint32_t bits();
  std::uint64_t bits64();
  double uniform();                        // [0, 1), 53 bits
  double normal();                         // mean 0, deviation 1
  std::int64_t below(std::int64_t bound);  // 0 .. bound - 1, without bias; bound >= 1
  template <class T>
  void shuffle(std::span<T> values) {
    for (std::int64_t i = static_cast<std::int64_t>(values.size()) - 1; i > 0; --i)
      std::swap(values[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(below(i + 1))]);
  }

 private:
  std::uint64_t seed_, stream_, counter_ = 0;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;
};

// A stable number for a name, to give each tensor or purpose its own stream: stream_of("init/encoder.weight").
TESSERA_API std::uint64_t stream_of(const std::string& name);

TESSERA_API void fill_uniform(Tensor& x, double low, double high, std::uint64_t seed, std::uint64_t stream);
TESSERA_API void fill_normal(Tensor& x, double mean, double deviation, std::uint64_t seed, std::uint64_t stream);

// While one lives on a thread, ops such as dropout are in training mode there; without one they are in inference mode.
// Each random op of the step takes the next stream, so a step is a pure function of (seed, step).
class TESSERA_API TrainingScope {
 public:
  TrainingScope(std::uint64_t seed, std::uint64_t step);
  ~TrainingScope();
  TrainingScope(const TrainingScope&) = delete;
  TrainingScope& operator=(const TrainingScope&) = delete;

  static TrainingScope* current();  // null: inference
  std::uint64_t seed() const { return seed_; }
  std::uint64_t step() const { return step_; }
  std::uint64_t next_stream();  // (step, number of the call), mixed

 private:
  std::uint64_t seed_, step_, calls_ = 0;
  TrainingScope* outer_;
};

}  // namespace tessera
