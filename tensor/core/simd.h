#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

namespace tessera::simd {

// Vectors for the CPU kernels, by the vector extension that g++ and clang share: as wide as the processor that the
// build is for, the same code everywhere. Only kernels (cpu.cpp files) include this.
#if defined(__AVX512F__)
inline constexpr int kBytes = 64;
inline constexpr int kRegisters = 32;
#elif defined(__AVX__)
inline constexpr int kBytes = 32;
inline constexpr int kRegisters = 16;
#else
inline constexpr int kBytes = 16;
inline constexpr int kRegisters = 16;
#endif

template <class T>
struct Pack {
  typedef T type __attribute__((vector_size(kBytes)));
};
template <class T>
using Vec = typename Pack<T>::type;
template <class T>
inline constexpr int kLanes = kBytes / static_cast<int>(sizeof(T));

template <class T>
inline Vec<T> load(const T* from) {  // any alignment
  Vec<T> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

template <class T>
inline void store(T* to, const Vec<T>& v) {
  std::memcpy(to, &v, sizeof v);
}

template <class T>
inline Vec<T> broadcast(T x) {
  return x - Vec<T>{};
}

// The first n lanes from memory, the others filled.
template <class T>
inline Vec<T> load_part(const T* from, std::int64_t n, T fill = T{0}) {
  Vec<T> v = broadcast(fill);
  std::memcpy(&v, from, static_cast<std::size_t>(n) * sizeof(T));
  return v;
}

template <class T>
inline void store_part(T* to, const Vec<T>& v, std::int64_t n) {
  std::memcpy(to, &v, static_cast<std::size_t>(n) * sizeof(T));
}

namespace detail {

template <int kDistance, class V, int... kLane>
inline V swap_lanes(const V& v, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(v, v, (kLane ^ kDistance)...);
}

// Swaps the off-diagonal halves of a 2 x 2 block of lanes: lane l of a and b with bit `kDistance` of l.
template <int kDistance, class V, int... kLane>
inline V low_half(const V& a, const V& b, std::integer_sequence<int, kLane...>) {
  constexpr int n = sizeof...(kLane);
  return __builtin_shufflevector(a, b, ((kLane & kDistance) == 0 ? kLane : n + kLane - kDistance)...);
}
template <int kDistance, class V, int... kLane>
inline V high_half(const V& a, const V& b, std::integer_sequence<int, kLane...>) {
  constexpr int n = sizeof...(kLane);
  return __builtin_shufflevector(a, b, ((kLane & kDistance) == 0 ? kLane + kDistance : n + kLane)...);
}

template <class T, int kDistance>
inline void transpose_stage(Vec<T>* rows) {
  constexpr int n = kLanes<T>;
  constexpr auto lanes = std::make_integer_sequence<int, n>();
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) {
    if (i & kDistance) continue;
    const Vec<T> a = rows[i], b = rows[i + kDistance];
    rows[i] = low_half<kDistance>(a, b, lanes);
    rows[i + kDistance] = high_half<kDistance>(a, b, lanes);
  }
  if constexpr (kDistance * 2 < n) transpose_stage<T, kDistance * 2>(rows);
}

template <class T, int kDistance, class F>
inline Vec<T> fold(Vec<T> v, F&& f) {
  v = f(v, swap_lanes<kDistance>(v, std::make_integer_sequence<int, kLanes<T>>()));
  if constexpr (kDistance > 1) return fold<T, kDistance / 2>(v, f);
  return v;
}

}  // namespace detail

template <class T>
inline Vec<T> max(const Vec<T>& a, const Vec<T>& b) {
  return a > b ? a : b;
}

template <class T>
inline T sum(const Vec<T>& v) {  // in a fixed tree
  return detail::fold<T, kLanes<T> / 2>(v, [](const Vec<T>& a, const Vec<T>& b) { return a + b; })[0];
}

template <class T>
inline T top(const Vec<T>& v) {  // the largest lane
  return detail::fold<T, kLanes<T> / 2>(v, [](const Vec<T>& a, const Vec<T>& b) { return max<T>(a, b); })[0];
}

// kLanes rows of kLanes numbers, in place.
template <class T>
inline void transpose(Vec<T>* rows) {
  detail::transpose_stage<T, 1>(rows);
}

// e^x. f32: 2^n p(r), |r| <= ln 2 / 2, to about 1 unit in the last place; below -87.3 it is 0, above 88.3 it saturates.
inline Vec<float> exp(Vec<float> x) {
  typedef std::uint32_t Int __attribute__((vector_size(kBytes)));
  const Vec<float> lowest = broadcast(-87.33f), highest = broadcast(88.37f);
  const auto vanishes = x < lowest;
  x = x > highest ? highest : x;
  const Vec<float> magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vec<float> shifted = x * 1.44269504088896341f + magic;
  const Vec<float> n = shifted - magic;
  const Vec<float> r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Vec<float> p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Int power = (reinterpret_cast<Int>(shifted) << 23) + (127u << 23);
  return vanishes ? Vec<float>{} : p * reinterpret_cast<Vec<float>>(power);
}

inline Vec<double> exp(Vec<double> x) {  // f64 serves checks: exactness before speed
  for (int i = 0; i < kLanes<double>; ++i) x[i] = std::exp(x[i]);
  return x;
}

// f(i) for the whole vectors of 0 .. n, then f_part(i, rest) for what is left.
template <class T, class F, class G>
inline void for_vectors(std::int64_t n, F&& f, G&& f_part) {
  std::int64_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) f(i);
  if (i < n) f_part(i, n - i);
}

}  // namespace tessera::simd
