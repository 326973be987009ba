#include "tensor/core/dispatch.h"
#include "tensor/cuda/reduce.cuh"
#include "tensor/ops/norm/norm.h"

namespace tessera::cuda {
namespace {

template <class T>
void forward_rows(NormKind kind, const Tensor& x, const T* gain, const T* bias, T eps, T* y, T* stat) {
  const std::int64_t n = x.columns();
  const T* all = x.data<T>();
  for_rows(x.device(), x.rows(), [=] __device__(std::int64_t row, int lane) {
    const T* from = all + row * n;
    T mean = 0, square = 0;
    if (kind == NormKind::layer) {
      for (std::int64_t i = lane; i < n; i += kWarp) mean += from[i];
      mean = warp_sum(mean) / static_cast<T>(n);
    }
    for (std::int64_t i = lane; i < n; i += kWarp) square += (from[i] - mean) * (from[i] - mean);
    square = warp_sum(square);
    const T root = kind == NormKind::l2 ? sqrt(square) : sqrt(square / static_cast<T>(n) + eps);
    const T inverse = T(1) / (kind == NormKind::l2 && root < eps ? eps : root);
    if (lane == 0) {
      stat[2 * row] = mean;
      stat[2 * row + 1] = inverse;
    }
    for (std::int64_t i = lane; i < n; i += kWarp) {
      T v = (from[i] - mean) * inverse;
      if (gain) v *= gain[i];
      if (bias) v += bias[i];
      y[row * n + i] = v;
    }
  });
}

// With u the normalised row and g = dy gain: dx = beta dx + inverse (g - mean(g) - u mean(g u)); l2 has a sum there,
// and nothing where the length was clamped.
template <class T>
void backward_rows(NormKind kind, const Tensor& x, const T* gain, const T* stat, T limit, const T* dy, T beta, T* dx) {
  const std::int64_t n = x.columns();
  const T* all = x.data<T>();
  for_rows(x.device(), x.rows(), [=] __device__(std::int64_t row, int lane) {
    const T *from = all + row * n, *d = dy + row * n, mean = stat[2 * row], inverse = stat[2 * row + 1];
    T plain = 0, dotted = 0;
    for (std::int64_t i = lane; i < n; i += kWarp) {
      const T g = gain ? d[i] * gain[i] : d[i];
      plain += g;
      dotted += g * (from[i] - mean) * inverse;
    }
    plain = kind == NormKind::layer ? warp_sum(plain) / static_cast<T>(n) : T(0);
    dotted = warp_sum(dotted);
    if (kind != NormKind::l2) dotted /= static_cast<T>(n);
    else if (inverse >= limit) dotted = T(0);
    for (std::int64_t i = lane; i < n; i += kWarp) {
      const T g = gain ? d[i] * gain[i] : d[i];
      const T value = (g - plain - (from[i] - mean) * inverse * dotted) * inverse;
      T& to = dx[row * n + i];
      to = beta == T(0) ? value : beta * to + value;
    }
  });
}

template <class T>
void gain_gradient(const Tensor& x, const T* stat, const T* dy, T* dgain) {
  const std::int64_t n = x.columns();
  const T* from = x.data<T>();
  const auto term = [=] __device__(std::int64_t row, std::int64_t i) {
    return static_cast<double>(dy[row * n + i] * (from[row * n + i] - stat[2 * row]) * stat[2 * row + 1]);
  };
  column_sums(x.device(), x.rows(), n, term, dgain);
}

template <class T>
void bias_gradient(const Tensor& x, const T* dy, T* dbias) {
  const std::int64_t n = x.columns();
  column_sums(
      x.device(), x.rows(), n,
      [=] __device__(std::int64_t row, std::int64_t i) { return static_cast<double>(dy[row * n + i]); }, dbias);
}

template <class T>
const T* data_or_null(const Tensor& x) {
  return x ? x.data<T>() : nullptr;
}

}  // namespace

void norm_forward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& bias, double eps, Tensor& y,
                  Tensor& stat) {
  dispatch_float("norm", x.dtype(), [&](auto type) {
    using T = decltype(type);
    forward_rows<T>(kind, x, data_or_null<T>(gain), data_or_null<T>(bias), static_cast<T>(eps), y.data<T>(),
                    stat.data<T>());
  });
}

void norm_backward(NormKind kind, const Tensor& x, const Tensor& gain, const Tensor& stat, double eps, const Tensor& dy,
                   double beta, Tensor& dx, Tensor& dgain, Tensor& dbias) {
  dispatch_float("norm", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *s = stat.data<T>(), *d = dy.data<T>();
    const T limit = T(1) / static_cast<T>(eps);
    if (dx) backward_rows<T>(kind, x, data_or_null<T>(gain), s, limit, d, static_cast<T>(beta), dx.data<T>());
    if (dgain) gain_gradient<T>(x, s, d, dgain.data<T>());
    if (dbias) bias_gradient<T>(x, d, dbias.data<T>());
  });
}

}  // namespace tessera::cuda
