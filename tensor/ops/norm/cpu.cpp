#include <algorithm>
#include <cmath>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/core/simd.h"
#include "tensor/ops/norm/norm.h"

namespace tessera::cpu {
namespace {

using simd::broadcast;
using simd::load;
using simd::load_part;
using simd::store;
using simd::store_part;
using simd::Vec;

std::int64_t grain_of(std::int64_t columns) { return std::max<std::int64_t>(8, 32768 / columns); }

// sum_d f(i) over a row: f gives a vector for its loader, so that the tail (padded with zeros) needs no second version.
template <class T>
struct Whole {
  Vec<T> operator()(const T* from) const { return load(from); }
};
template <class T>
struct Part {
  std::int64_t n;
  Vec<T> operator()(const T* from) const { return load_part(from, n); }
};

template <class T, class F>
void each(std::int64_t n, F&& f) {  // f(i, loader, storer) for the vectors of a row
  simd::for_vectors<T>(
      n, [&](std::int64_t i) { f(i, Whole<T>{}, [](T* to, const Vec<T>& v) { store(to, v); }); },
      [&](std::int64_t i, std::int64_t rest) {
        f(i, Part<T>{rest}, [rest](T* to, const Vec<T>& v) { store_part(to, v, rest); });
      });
}

template <class T>
struct Statistics {
  T mean, inverse;
};

template <class T>
Statistics<T> statistics(NormKind kind, const T* x, std::int64_t n, T eps) {
  Vec<T> sum{}, squares{};
  T mean = 0;
  if (kind == NormKind::layer) {
    each<T>(n, [&](std::int64_t i, auto part, auto) { sum += part(x + i); });
    mean = simd::sum<T>(sum) / static_cast<T>(n);
  }
  // The second pass over the row runs in the cache, and loses no digits where the mean is large.
  const std::int64_t whole = n / simd::kLanes<T> * simd::kLanes<T>;
  for (std::int64_t i = 0; i < whole; i += simd::kLanes<T>) {
    const Vec<T> d = load(x + i) - mean;
    squares += d * d;
  }
  T square = simd::sum<T>(squares);
  for (std::int64_t i = whole; i < n; ++i) square += (x[i] - mean) * (x[i] - mean);
  if (kind == NormKind::l2) return {T{0}, T{1} / std::max(std::sqrt(square), eps)};
  return {mean, T{1} / std::sqrt(square / static_cast<T>(n) + eps)};
}

template <class T>
void forward_row(const T* x, const T* gain, const T* bias, Statistics<T> s, std::int64_t n, T* y) {
  each<T>(n, [&](std::int64_t i, auto part, auto put) {
    Vec<T> v = (part(x + i) - s.mean) * s.inverse;
    if (gain) v *= part(gain + i);
    if (bias) v += part(bias + i);
    put(y + i, v);
  });
}

template <class T>
struct Gradients {
  T *x, *gain, *bias;  // a row of dx, the tile's sums; null: not wanted
};

// With n the normalised row: dx = beta dx + inverse (dy gain - a - n b), a and b being the row's means (l2: a = 0, b a
// sum).
template <class T>
void backward_row(NormKind kind, const T* x, const T* gain, Statistics<T> s, bool clamped, const T* dy, T beta,
                  std::int64_t n, const Gradients<T>& to) {
  Vec<T> plain{}, dotted{};
  each<T>(n, [&](std::int64_t i, auto part, auto put) {
    const Vec<T> d = part(dy + i), unit = (part(x + i) - s.mean) * s.inverse;
    if (to.gain) put(to.gain + i, part(to.gain + i) + d * unit);
    if (to.bias) put(to.bias + i, part(to.bias + i) + d);
    const Vec<T> g = gain ? d * part(gain + i) : d;
    plain += g;
    dotted += g * unit;  // lanes past the end: g is 0
  });
  if (!to.x) return;
  T a = 0, b = clamped ? T{0} : simd::sum<T>(dotted);
  if (kind != NormKind::l2) b /= static_cast<T>(n);
  if (kind == NormKind::layer) a = simd::sum<T>(plain) / static_cast<T>(n);
  each<T>(n, [&](std::int64_t i, auto part, auto put) {
    const Vec<T> d = part(dy + i), unit = (part(x + i) - s.mean) * s.inverse;
    const Vec<T> g = gain ? d * part(gain + i) : d;
    Vec<T> v = (g - a - unit * b) * s.inverse;
    if (beta != T{0}) v += part(to.x + i);
    put(to.x + i, v);
  });
}

template <class T>
void add_tiles(const Tensor& tiles, Tensor& to) {  // in tile order
  const std::int64_t n = to.numel();
  T* y = to.data<T>();
  std::fill_n(y, n, T{0});
  const T* x = tiles.data<T>();
  for (std::int64_t tile = 0; tile < tiles.rows(); ++tile)
    for (std::int64_t i = 0; i < n; ++i) y[i] += x[tile * n + i];
}

}  // namespace

void norm_forward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& bias, double eps, Tensor& y,
                  Tensor& stat) {
  dispatch_float("norm", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = x.columns();
    const T *from = x.data<T>(), *g = gain ? gain.data<T>() : nullptr, *b = bias ? bias.data<T>() : nullptr;
    T *to = y.data<T>(), *keep = stat.data<T>();
    parallel_rows(x.rows(), grain_of(n), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const Statistics<T> s = statistics(kind, from + row * n, n, static_cast<T>(eps));
        keep[2 * row] = s.mean;
        keep[2 * row + 1] = s.inverse;
        forward_row(from + row * n, g, b, s, n, to + row * n);
      }
    });
  });
}

void norm_backward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& stat, double eps, const Tensor& dy,
                   double beta, Tensor& dx, Tensor& dgain, Tensor& dbias) {
  dispatch_float("norm", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t n = x.columns(), grain = grain_of(n), tiles = (x.rows() + grain - 1) / grain;
    const T *from = x.data<T>(), *g = gain ? gain.data<T>() : nullptr, *s = stat.data<T>(), *d = dy.data<T>();
    Tensor gain_tiles, bias_tiles;  // one row of partial sums a tile
    if (dgain) gain_tiles = Tensor({tiles, n}, x.dtype());
    if (dbias) bias_tiles = Tensor({tiles, n}, x.dtype());
    T* to = dx ? dx.data<T>() : nullptr;
    const T limit = T{1} / static_cast<T>(eps);
    parallel_for(tiles, [&](std::int64_t tile) {
      T* gain_sum = dgain ? gain_tiles.data<T>() + tile * n : nullptr;
      T* bias_sum = dbias ? bias_tiles.data<T>() + tile * n : nullptr;
      if (gain_sum) std::fill_n(gain_sum, n, T{0});
      if (bias_sum) std::fill_n(bias_sum, n, T{0});
      for (std::int64_t row = tile * grain; row < std::min(x.rows(), (tile + 1) * grain); ++row)
        backward_row<T>(kind, from + row * n, g, {s[2 * row], s[2 * row + 1]},
                        kind == NormKind::l2 && s[2 * row + 1] >= limit, d + row * n, static_cast<T>(beta), n,
                        {to ? to + row * n : nullptr, gain_sum, bias_sum});
    });
    if (dgain) add_tiles<T>(gain_tiles, dgain);
    if (dbias) add_tiles<T>(bias_tiles, dbias);
  });
}

}  // namespace tessera::cpu
