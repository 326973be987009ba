#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "tensor/core/random.h"
#include "tensor/ops/attention/attention.h"

// For the tests of this room: attention as it stands in the textbook, with a whole matrix of scores, in f64.
namespace tessera::reference {

using Offsets = std::vector<std::int64_t>;

inline Offsets offsets(const std::vector<std::int64_t>& lengths) {
  Offsets offset = {0};
  for (const auto n : lengths) offset.push_back(offset.back() + n);
  return offset;
}

// Lengths 0 .. most, with 0 and 1 among them.
inline Offsets random_offsets(std::size_t sequences, std::int64_t most, std::uint64_t seed) {
  Random random(seed, 11);
  std::vector<std::int64_t> lengths = {1, 0};
  while (lengths.size() < sequences) lengths.push_back(random.below(most + 1));
  random.shuffle(std::span<std::int64_t>(lengths));
  return offsets(lengths);
}

struct Gradients {
  Tensor y, dq, dk, dv, dbias;
};

// One head of one row at a position: x_i, x_(i + D/2) turned by angle position base^(-2i/D), times sign.
inline std::vector<double> turned(const double* x, std::int64_t width, double base, double position) {
  std::vector<double> y(x, x + width);
  if (base == 0.0) return y;
  for (std::int64_t i = 0; i < width / 2; ++i) {
    const double angle = position * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
    const auto a = static_cast<std::size_t>(i), b = static_cast<std::size_t>(i + width / 2);
    y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    y[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
  }
  return y;
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Value, and the gradients of y . dy.
inline Gradients attention(const Tensor& q, const Tensor& k, const Tensor& v, const Offsets& q_offset,
                           const Offsets& k_offset, const AttentionOptions& options, const Tensor& dy) {
  const std::int64_t heads = options.heads, dk = q.columns() / heads, dv = v.columns() / heads;
  const bool causal = options.mask == AttentionMask::causal;
  const double scale = options.scale != 0.0 ? options.scale : 1.0 / std::sqrt(static_cast<double>(dk)),
               base = options.rope_base;
  Gradients out{Tensor::zeros({q.rows(), v.columns()}, DType::f64),
                Tensor::zeros(q.shape(), DType::f64),
                Tensor::zeros(k.shape(), DType::f64),
                Tensor::zeros(v.shape(), DType::f64),
                {}};
  const Tensor& bias = options.relative_bias;
  if (bias) out.dbias = Tensor::zeros(bias.shape(), DType::f64);
  for (std::size_t b = 0; b + 1 < q_offset.size(); ++b)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = q_offset[b]; i < q_offset[b + 1]; ++i) {
        const std::int64_t nq = q_offset[b + 1] - q_offset[b], nk = k_offset[b + 1] - k_offset[b], first = k_offset[b];
        const std::int64_t position = i - q_offset[b] + (causal ? nk - nq : 0),
                           seen = causal ? std::min(nk, position + 1) : nk;
        if (seen <= 0) continue;
        const auto query = turned(q.data<double>() + i * q.columns() + h * dk, dk, base, static_cast<double>(position));
        std::vector<std::vector<double>> keys;
        std::vector<double> p;
        std::vector<std::int64_t> bucket;
        double top = -1e300, sum = 0;
        for (std::int64_t j = 0; j < seen; ++j) {
          keys.push_back(
              turned(k.data<double>() + (first + j) * k.columns() + h * dk, dk, base, static_cast<double>(j)));
          bucket.push_back(
              bias ? relative_bucket(j - position, !causal, static_cast<int>(bias.dim(0)), options.max_distance) : 0);
          p.push_back(scale * dot(query, keys.back()) + (bias ? bias.data<double>()[bucket.back() * heads + h] : 0.0));
          top = std::max(top, p.back());
        }
        for (double& s : p) sum += s = std::exp(s - top);
        const double* g = dy.data<double>() + i * v.columns() + h * dv;
        double* y = out.y.data<double>() + i * v.columns() + h * dv;
        std::vector<double> dp(p.size(), 0.0);
        double mean = 0;
        for (std::int64_t j = 0; j < seen; ++j) {
          const auto at = static_cast<std::size_t>(j);
          p[at] /= sum;
          for (std::int64_t d = 0; d < dv; ++d) {
            const double value = v.data<double>()[(first + j) * v.columns() + h * dv + d];
            y[d] += p[at] * value;
            dp[at] += g[d] * value;
            out.dv.data<double>()[(first + j) * v.columns() + h * dv + d] += p[at] * g[d];
          }
          mean += p[at] * dp[at];
        }
        std::vector<double> dquery(static_cast<std::size_t>(dk), 0.0);
        for (std::int64_t j = 0; j < seen; ++j) {
          const auto at = static_cast<std::size_t>(j);
          const double ds = p[at] * (dp[at] - mean);
          if (bias) out.dbias.data<double>()[bucket[at] * heads + h] += ds;
          std::vector<double> dkey(query);
          for (std::size_t d = 0; d < dkey.size(); ++d) {
            dkey[d] *= scale * ds;
            dquery[d] += scale * ds * keys[at][d];
          }
          dkey = turned(dkey.data(), dk, base, -static_cast<double>(j));
          for (std::int64_t d = 0; d < dk; ++d)
            out.dk.data<double>()[(first + j) * k.columns() + h * dk + d] += dkey[static_cast<std::size_t>(d)];
        }
        dquery = turned(dquery.data(), dk, base, -static_cast<double>(position));
        for (std::int64_t d = 0; d < dk; ++d)
          out.dq.data<double>()[i * q.columns() + h * dk + d] += dquery[static_cast<std::size_t>(d)];
      }
  return out;
}

}  // namespace tessera::reference
