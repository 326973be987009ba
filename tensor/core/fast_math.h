#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace tessera::detail {

// exp, erf and what builds on them without branches or calls in f32, so that loops over them vectorise; in f64 the
// standard functions. Always inlined: one call left in a loop makes all of it scalar. Private to kernels.

// Relative error below 2e-7; 0 below the smallest normal number, infinity above the largest, NaN stays NaN.
[[gnu::always_inline]] inline float fast_exp(float x) {
  constexpr float kLow = -87.33654f, kHigh = 88.72284f;
  const float inside = x < kLow ? kLow : (x > kHigh ? kHigh : x);
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = inside * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (inside - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.381457156e-3f;
  p = p * r + 8.368717896e-3f;
  p = p * r + 4.166838847e-2f;
  p = p * r + 1.666652062e-1f;
  p = p * r + 4.999999345e-1f;
  p = p * r * r + r + 1.0f;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(p) + (std::bit_cast<std::uint32_t>(shifted) << 23);
  const float y = x < kLow ? 0.0f : std::bit_cast<float>(bits);
  return x > kHigh ? x * 1e38f : (x != x ? x : y);
}
inline double fast_exp(double x) { return std::exp(x); }

// erf with exp(-x^2) at hand: 1 - exp(-x^2) P(1 / (1 + 0.39 |x|)). Absolute error below 3e-7.
[[gnu::always_inline]] inline float erf_from_exp(float x, float exp_minus_x2) {
  const float a = x < 0.0f ? -x : x;
  const float t = 1.0f / (1.0f + 0.39f * a);
  float p = -0.2275371911f;
  p = p * t + 0.8866646385f;
  p = p * t - 0.6354007124f;
  p = p * t + 0.6495597455f;
  p = p * t + 0.09138827718f;
  p = p * t + 0.2353252406f;
  const float y = 1.0f - exp_minus_x2 * (p * t);
  return x < 0.0f ? -y : y;
}
inline double erf_from_exp(double x, double) { return std::erf(x); }

template <class T>
[[gnu::always_inline]] inline T fast_sigmoid(T x) {
  return T(1) / (T(1) + fast_exp(-x));
}

// The absolute error is that of exp; 2 sigmoid(2x) - 1.
template <class T>
[[gnu::always_inline]] inline T fast_tanh(T x) {
  if constexpr (sizeof(T) == sizeof(double)) return std::tanh(x);
  return T(2) / (T(1) + fast_exp(T(-2) * x)) - T(1);
}

// The normal distribution's Phi(x) and density; gelu(x) = x Phi(x), gelu'(x) = Phi(x) + x density(x).
template <class T>
struct Normal {
  T phi, density;
};
template <class T>
[[gnu::always_inline]] inline Normal<T> fast_normal(T x) {
  constexpr T kSqrtHalf = T(0.70710678118654752440), kDensity = T(0.39894228040143267794);
  const T e = fast_exp(T(-0.5) * x * x);
  return {T(0.5) + T(0.5) * erf_from_exp(x * kSqrtHalf, e), kDensity * e};
}

}  // namespace tessera::detail
