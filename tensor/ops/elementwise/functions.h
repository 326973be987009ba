#pragma once

#include <cmath>
#include <type_traits>

#include "tensor/core/error.h"
#include "tensor/ops/elementwise/elementwise.h"

#ifdef __CUDACC__
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#endif

namespace tessera::detail {

// The scalar functions, once for the CPU and for CUDA. Included by kernels alone.
template <class T>
TESSERA_HOST_DEVICE inline T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <class T>
TESSERA_HOST_DEVICE inline T normal_cdf(T x) {
  return T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440)));
}

template <Unary F, class T>
TESSERA_HOST_DEVICE inline T value(T x) {
  if constexpr (F == Unary::relu) return x > T(0) ? x : T(0);
  else if constexpr (F == Unary::gelu) return x * normal_cdf(x);
  else if constexpr (F == Unary::silu) return x * sigmoid(x);
  else if constexpr (F == Unary::sigmoid) return sigmoid(x);
  else if constexpr (F == Unary::tanh) return std::tanh(x);
  else if constexpr (F == Unary::softplus) return (x > T(0) ? x : T(0)) + std::log1p(std::exp(-std::fabs(x)));
  else if constexpr (F == Unary::exp) return std::exp(x);
  else if constexpr (F == Unary::log) return std::log(x);
  else if constexpr (F == Unary::square) return x * x;
  else return x;
}

// The derivative at x.
template <Unary F, class T>
TESSERA_HOST_DEVICE inline T slope(T x) {
  if constexpr (F == Unary::relu) {
    return x > T(0) ? T(1) : T(0);
  } else if constexpr (F == Unary::gelu) {
    return normal_cdf(x) + x * T(0.39894228040143267794) * std::exp(T(-0.5) * x * x);
  } else if constexpr (F == Unary::silu) {
    const T s = sigmoid(x);
    return s * (T(1) + x * (T(1) - s));
  } else if constexpr (F == Unary::sigmoid) {
    const T s = sigmoid(x);
    return s * (T(1) - s);
  } else if constexpr (F == Unary::tanh) {
    const T t = std::tanh(x);
    return T(1) - t * t;
  } else if constexpr (F == Unary::softplus) {
    return sigmoid(x);
  } else if constexpr (F == Unary::exp) {
    return std::exp(x);
  } else if constexpr (F == Unary::log) {
    return T(1) / x;
  } else if constexpr (F == Unary::square) {
    return T(2) * x;
  } else {
    return T(1);
  }
}

// with_unary(f, [&](auto tag) { constexpr Unary F = decltype(tag)::value; ... }): one loop compiled for each function.
template <class G>
void with_unary(Unary f, G&& g) {
  switch (f) {
    case Unary::none: return g(std::integral_constant<Unary, Unary::none>{});
    case Unary::relu: return g(std::integral_constant<Unary, Unary::relu>{});
    case Unary::gelu: return g(std::integral_constant<Unary, Unary::gelu>{});
    case Unary::silu: return g(std::integral_constant<Unary, Unary::silu>{});
    case Unary::sigmoid: return g(std::integral_constant<Unary, Unary::sigmoid>{});
    case Unary::tanh: return g(std::integral_constant<Unary, Unary::tanh>{});
    case Unary::softplus: return g(std::integral_constant<Unary, Unary::softplus>{});
    case Unary::exp: return g(std::integral_constant<Unary, Unary::exp>{});
    case Unary::log: return g(std::integral_constant<Unary, Unary::log>{});
    case Unary::square: return g(std::integral_constant<Unary, Unary::square>{});
  }
  throw Error("elementwise: unknown function");
}

template <Binary F, class T>
TESSERA_HOST_DEVICE inline T value(T a, T b) {
  if constexpr (F == Binary::add) return a + b;
  else if constexpr (F == Binary::subtract) return a - b;
  else return a * b;
}

template <class G>
void with_binary(Binary f, G&& g) {
  switch (f) {
    case Binary::add: return g(std::integral_constant<Binary, Binary::add>{});
    case Binary::subtract: return g(std::integral_constant<Binary, Binary::subtract>{});
    case Binary::multiply: return g(std::integral_constant<Binary, Binary::multiply>{});
  }
  throw Error("elementwise: unknown operation");
}

}  // namespace tessera::detail
