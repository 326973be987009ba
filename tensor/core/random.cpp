#include "tensor/core/random.h"

#include <cmath>
#include <numbers>
#include <string>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

thread_local TrainingScope* current_scope = nullptr;

double unit(std::uint32_t high, std::uint32_t low) {  // [0, 1) with 53 bits
  const std::uint64_t bits = (static_cast<std::uint64_t>(high) << 32 | low) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

// Two independent normals from four words (Box-Muller).
std::array<double, 2> normal_pair(const std::array<std::uint32_t, 4>& w) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - unit(w[0], w[1])));
  const double angle = 2.0 * std::numbers::pi * unit(w[2], w[3]);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// Two numbers a counter value, whatever the type, so f32 and f64 tensors start alike.
template <class Pair>
void fill_pairs(Tensor& x, const char* op, Pair&& pair) {
  require_cpu_kernel(op, x.device());
  dispatch_float(op, x.dtype(), [&](auto type) {
    using T = decltype(type);
    T* y = x.data<T>();
    const std::int64_t n = x.numel();
    parallel_rows((n + 1) / 2, 4096, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto two = pair(static_cast<std::uint64_t>(i));
        y[2 * i] = static_cast<T>(two[0]);
        if (2 * i + 1 < n) y[2 * i + 1] = static_cast<T>(two[1]);
      }
    });
  });
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter), c1 = static_cast<std::uint32_t>(counter >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(stream), c3 = static_cast<std::uint32_t>(stream >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(b);
    c3 = static_cast<std::uint32_t>(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

std::uint32_t Random::bits() {
  if (used_ == 4) {
    block_ = philox(seed_, stream_, counter_++);
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t Random::bits64() {
  const std::uint64_t high = bits();
  return high << 32 | bits();
}

double Random::uniform() {
  const std::uint32_t high = bits();
  return unit(high, bits());
}

double Random::normal() {
  std::array<std::uint32_t, 4> words;
  for (auto& word : words) word = bits();
  return normal_pair(words)[0];
}

std::int64_t Random::below(std::int64_t bound) {
  check(bound >= 1, "random: bound ", bound, ", expected 1 or more");
  const auto range = static_cast<std::uint64_t>(bound);
  const std::uint64_t limit = range * (~std::uint64_t{0} / range);  // rejects the uneven rest
  std::uint64_t x;
  do x = bits64();
  while (x >= limit);
  return static_cast<std::int64_t>(x % range);
}

std::uint64_t stream_of(const std::string& name) {  // FNV-1a
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

void fill_uniform(Tensor& x, double low, double high, std::uint64_t seed, std::uint64_t stream) {
  fill_pairs(x, "fill_uniform", [=](std::uint64_t i) {
    const auto w = philox(seed, stream, i);
    return std::array<double, 2>{low + (high - low) * unit(w[0], w[1]), low + (high - low) * unit(w[2], w[3])};
  });
}

void fill_normal(Tensor& x, double mean, double deviation, std::uint64_t seed, std::uint64_t stream) {
  fill_pairs(x, "fill_normal", [=](std::uint64_t i) {
    const auto pair = normal_pair(philox(seed, stream, i));
    return std::array<double, 2>{mean + deviation * pair[0], mean + deviation * pair[1]};
  });
}

TrainingScope::TrainingScope(std::uint64_t seed, std::uint64_t step) : seed_(seed), step_(step), outer_(current_scope) {
  current_scope = this;
}

TrainingScope::~TrainingScope() { current_scope = outer_; }

TrainingScope* TrainingScope::current() { return current_scope; }

std::uint64_t TrainingScope::next_stream() { return (step_ << 16) + ++calls_; }

}  // namespace tessera
