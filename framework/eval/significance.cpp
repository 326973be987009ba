#include "framework/eval/significance.h"

#include <algorithm>
#include <cmath>
#include <numeric>
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

std::vector<double> auc_contributions(std::span<const float> score, std::span<const float> label) {
  check(score.size() == label.size(), "auc: ", score.size(), " scores, ", label.size(), " labels");
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double positives = 0;
  for (const float y : label) positives += y > 0.5f ? 1 : 0;
  const double negatives = static_cast<double>(label.size()) - positives;
  std::vector<double> out(score.size());
  double below_positive = 0, below_negative = 0;
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    double tied_positive = 0, tied_negative = 0;
    for (; end < order.size() && score[order[end]] == score[order[i]]; ++end)
      ++(label[order[end]] > 0.5f ? tied_positive : tied_negative);
    for (; i < end; ++i)
      out[order[i]] = label[order[i]] > 0.5f
                          ? (below_negative + 0.5 * tied_negative) / negatives
                          : (positives - below_positive - tied_positive + 0.5 * tied_positive) / positives;
    below_positive += tied_positive;
    below_negative += tied_negative;
  }
  return out;
}

PairedTest auc_test(std::span<const double> a, std::span<const double> b, std::span<const float> label,
                    std::span<const std::int64_t> offset) {
  check(a.size() == b.size() && a.size() == label.size(), "auc test: ", a.size(), " and ", b.size(), " contributions, ",
        label.size(), " labels; the runs must be evaluated on the same impressions");
  PairedTest out;
  double positives = 0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] <= 0.5f) continue;
    ++positives;
    out.mean_a += a[i];
    out.mean_b += b[i];
  }
  const double negatives = static_cast<double>(label.size()) - positives;
  check(positives > 0 && negatives > 0, "auc test: the impressions have one class");
  out.mean_a /= positives;
  out.mean_b /= positives;
  out.difference = out.mean_b - out.mean_a;
  // Sums over users of what theirs contribute beyond the mean, positives and negatives apart.
  double users = 0, with_positive = 0, with_negative = 0, s10 = 0, s01 = 0, s11 = 0;
  for (std::size_t u = 0; u + 1 < offset.size(); ++u) {
    double positive = 0, negative = 0, own_positives = 0, own_negatives = 0;
    for (auto i = static_cast<std::size_t>(offset[u]); i < static_cast<std::size_t>(offset[u + 1]); ++i) {
      const bool is_positive = label[i] > 0.5f;
      (is_positive ? positive : negative) += b[i] - a[i] - out.difference;
      ++(is_positive ? own_positives : own_negatives);
    }
    users += own_positives + own_negatives > 0 ? 1 : 0;
    with_positive += own_positives > 0 ? 1 : 0;
    with_negative += own_negatives > 0 ? 1 : 0;
    s10 += positive * positive;
    s01 += negative * negative;
    s11 += positive * negative;
  }
  const auto unbiased = [](double n) { return n > 1 ? n / (n - 1) : 0.0; };
  const double variance = unbiased(with_positive) * s10 / (positives * positives) +
                          unbiased(with_negative) * s01 / (negatives * negatives) +
                          2 * unbiased(users) * s11 / (positives * negatives);
  const double deviation = std::sqrt(std::max(0.0, variance));
  out.low = out.difference - 1.959963984540054 * deviation;
  out.high = out.difference + 1.959963984540054 * deviation;
  out.p_value = deviation > 0 ? std::erfc(std::abs(out.difference) / deviation / std::sqrt(2.0))
                              : (out.difference == 0 ? 1.0 : 0.0);
  return out;
}

}  // namespace tessera
