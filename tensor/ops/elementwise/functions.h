#pragma once

#include <cmath>
#include <type_traits>

#include "tensor/core/error.h"
#include "tensor/ops/elementwise/elementwise.h"

#ifdef __CUDACC__
#define TESSERA_HOST_DEVICE __host__ __device__
#else
#define TESSERA_HOST_DEVICE
#include "tensor/core/fast_math.h"
#endif

namespace tessera::detail {

// The scalar functions, once for the CPU, where loops over them vectorise, and for CUDA. Included by kernels alone.
#ifdef __CUDACC__
template <class T>
TESSERA_HOST_DEVICE inline T exp_of(T x) {
  return std::exp(x);
}
template <class T>
TESSERA_HOST_DEVICE inline T tanh_of(T x) {
  return std::tanh(x);
}
template <class T>
TESSERA_HOST_DEVICE inline T sigmoid_of(T x) {
  return T(1) / (T(1) + std::exp(-x));
}
template <class T>
struct NormalOf {
  T phi, density;
};
template <class T>
TESSERA_HOST_DEVICE inline NormalOf<T> normal_of(T x) {
  return {T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440))),
          T(0.39894228040143267794) * std::exp(T(-0.5) * x * x)};
}
#else
template <class T>
inline T exp_of(T x) {
  return fast_exp(x);
}
template <class T>
inline T tanh_of(T x) {
  return fast_tanh(x);
}
template <class T>
inline T sigmoid_of(T x) {
  return fast_sigmoid(x);
}
template <class T>
inline Normal<T> normal_of(T x) {
  return fast_normal(x);
}
#endif

template <Unary F, class T>
TESSERA_HOST_DEVICE inline T value(T x) {
  if constexpr (F == Unary::relu) return x > T(0) ? x : T(0);
  else if constexpr (F == Unary::gelu) return x * normal_of(x).phi;
  else if constexpr (F == Unary::silu) return x * sigmoid_of(x);
  else if constexpr (F == Unary::sigmoid) return sigmoid_of(x);
  else if constexpr (F == Unary::tanh) return tanh_of(x);
  else if constexpr (F == Unary::leaky_relu) return x > T(0) ? x : T(0.01) * x;
  else if constexpr (F == Unary::softplus) return (x > T(0) ? x : T(0)) + std::log1p(exp_of(-std::fabs(x)));
  else if constexpr (F == Unary::exp) return exp_of(x);
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
    const auto normal = normal_of(x);
    return normal.phi + x * normal.density;
  } else if constexpr (F == Unary::silu) {
    const T s = sigmoid_of(x);
    return s * (T(1) + x * (T(1) - s));
  } else if constexpr (F == Unary::sigmoid) {
    const T s = sigmoid_of(x);
    return s * (T(1) - s);
  } else if constexpr (F == Unary::tanh) {
    const T t = tanh_of(x);
    return T(1) - t * t;
  } else if constexpr (F == Unary::leaky_relu) {
    return x > T(0) ? T(1) : T(0.01);
  } else if constexpr (F == Unary::softplus) {
    return sigmoid_of(x);
  } else if constexpr (F == Unary::exp) {
    return exp_of(x);
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
    case Unary::leaky_relu: return g(std::integral_constant<Unary, Unary::leaky_relu>{});
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
