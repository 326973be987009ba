#include "framework/eval/significance.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

// Continued fraction of the incomplete beta function (Lentz's method; DLMF 8.17.22).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double result = d;
  for (int m = 1; m <= 300; ++m) {
    for (const bool even : {true, false}) {
      const double numerator = even ? m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
                                    : -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
      d = 1 + numerator * d;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      c = 1 + numerator / c;
      if (std::abs(c) < kTiny) c = kTiny;
      result *= d * c;
    }
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return result;
}

double incomplete_beta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double two_sided_t(double t, double freedom) { return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)); }

}  // namespace

PairedTest paired_test(std::span<const double> a, std::span<const double> b, int resamples, std::uint64_t seed) {
  check(a.size() == b.size(), "paired test: ", a.size(), " users and ", b.size(),
        "; the runs must be evaluated on the same users");
  check(a.size() >= 2, "paired test: ", a.size(), " users, expected at least 2");
  const auto n = static_cast<double>(a.size());
  PairedTest out;
  std::vector<double> difference(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    out.mean_a += a[i] / n;
    out.mean_b += b[i] / n;
    difference[i] = b[i] - a[i];
    out.difference += difference[i] / n;
  }
  double variance = 0;
  for (const double d : difference) variance += (d - out.difference) * (d - out.difference) / (n - 1);
  if (variance > 0) out.p_value = two_sided_t(out.difference / std::sqrt(variance / n), n - 1);
  else out.p_value = out.difference == 0 ? 1.0 : 0.0;

  std::vector<double> means(static_cast<std::size_t>(resamples));
  parallel_for(resamples, [&](std::int64_t r) {
    Random random(seed, stream_of("bootstrap") + static_cast<std::uint64_t>(r));
    double sum = 0;
    for (std::size_t i = 0; i < difference.size(); ++i)
      sum += difference[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(difference.size())))];
    means[static_cast<std::size_t>(r)] = sum / n;
  });
  std::sort(means.begin(), means.end());
  out.low = means[static_cast<std::size_t>(0.025 * resamples)];
  out.high = means[static_cast<std::size_t>(std::min(resamples - 1.0, 0.975 * resamples))];
  return out;
}

}  // namespace tessera
