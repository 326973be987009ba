#pragma once

#include <cmath>
#include <cstdint>

#include "tensor/core/fast_math.h"
#include "tensor/ops/linear/linear.h"

namespace tessera::detail {

// Each activation's value and slope at x, the value before it; in f32 free of branches, so that loops vectorise.
struct None {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return x;
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T) {
    return T(1);
  }
};
struct Relu {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return x > T(0) ? x : T(0);
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T x) {
    return x > T(0) ? T(1) : T(0);
  }
};
struct LeakyRelu {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return x > T(0) ? x : T(0.01) * x;
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T x) {
    return x > T(0) ? T(1) : T(0.01);
  }
};
struct Gelu {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return x * fast_normal(x).phi;
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T x) {
    const Normal<T> n = fast_normal(x);
    return n.phi + x * n.density;
  }
};
struct Silu {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return x * fast_sigmoid(x);
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T x) {
    const T s = fast_sigmoid(x);
    return s + x * s * (T(1) - s);
  }
};
struct Sigmoid {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return fast_sigmoid(x);
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T x) {
    const T s = fast_sigmoid(x);
    return s * (T(1) - s);
  }
};
struct Tanh {
  template <class T>
  [[gnu::always_inline]] static T value(T x) {
    return fast_tanh(x);
  }
  template <class T>
  [[gnu::always_inline]] static T slope(T x) {
    const T t = fast_tanh(x);
    return T(1) - t * t;
  }
};

// with_activation(a, [&](auto f) { y = f.value(x); })
template <class F>
void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::none: f(None{}); return;
    case Activation::relu: f(Relu{}); return;
    case Activation::gelu: f(Gelu{}); return;
    case Activation::silu: f(Silu{}); return;
    case Activation::sigmoid: f(Sigmoid{}); return;
    case Activation::tanh: f(Tanh{}); return;
    case Activation::leaky_relu: f(LeakyRelu{}); return;
  }
}

}  // namespace tessera::detail
