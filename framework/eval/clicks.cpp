#include "framework/eval/clicks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "framework/data/batches.h"
#include "framework/eval/metrics.h"

namespace tessera {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double probability(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double loss_of(double x, double y) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))) - y * x; }

void check_scores(std::span<const float> score, std::span<const float> label) {
  check(score.size() == label.size(), "clicks: ", score.size(), " scores for ", label.size(), " labels");
  for (std::size_t i = 0; i < score.size(); ++i)
    check(std::isfinite(score[i]), "clicks: the score of impression ", i, " is ", score[i],
          "; the model has diverged, lower train.learning_rate");
}

}  // namespace

Impressions impressions_of(const Dataset& data, Part part) {
  check_clicks(data);
  const Interactions& all = data.interactions;
  Impressions out;
  for (std::int64_t user = 0; user < all.users(); ++user) {
    for (std::int64_t i = all.begin(user); i < all.end(user); ++i) {
      if (all.part[static_cast<std::size_t>(i)] != part) continue;
      out.item.push_back(all.item[static_cast<std::size_t>(i)]);
      out.label.push_back(static_cast<float>(all.label[static_cast<std::size_t>(i)]));
    }
    if (out.size() == out.offset.back()) continue;
    out.user.push_back(static_cast<std::int32_t>(user));
    out.offset.push_back(out.size());
  }
  return out;
}

std::vector<ReliabilityBin> reliability(std::span<const float> score, std::span<const float> label, int bins) {
  check(bins >= 1, "reliability: ", bins, " bins, expected 1 or more");
  check_scores(score, label);
  std::vector<ReliabilityBin> out(static_cast<std::size_t>(bins));
  for (int b = 0; b < bins; ++b) {
    out[static_cast<std::size_t>(b)].low = static_cast<double>(b) / bins;
    out[static_cast<std::size_t>(b)].high = static_cast<double>(b + 1) / bins;
  }
  for (std::size_t i = 0; i < score.size(); ++i) {
    const double p = probability(static_cast<double>(score[i]));
    auto& bin = out[static_cast<std::size_t>(std::min(bins - 1, static_cast<int>(p * bins)))];
    ++bin.count;
    bin.predicted += p;
    bin.clicked += static_cast<double>(label[i]);
  }
  for (auto& bin : out) {
    bin.predicted = bin.count > 0 ? bin.predicted / static_cast<double>(bin.count) : kNone;
    bin.clicked = bin.count > 0 ? bin.clicked / static_cast<double>(bin.count) : kNone;
  }
  return out;
}

double calibration_error(const std::vector<ReliabilityBin>& bins) {
  double sum = 0, count = 0;
  for (const auto& bin : bins) {
    if (bin.count == 0) continue;
    sum += static_cast<double>(bin.count) * std::abs(bin.clicked - bin.predicted);
    count += static_cast<double>(bin.count);
  }
  return count == 0 ? kNone : sum / count;
}

double log_loss(std::span<const float> score, std::span<const float> label) {
  check_scores(score, label);
  double sum = 0;
  for (std::size_t i = 0; i < score.size(); ++i)
    sum += loss_of(static_cast<double>(score[i]), static_cast<double>(label[i]));
  return score.empty() ? kNone : sum / static_cast<double>(score.size());
}

double mean_known(std::span<const double> values) {
  double sum = 0, count = 0;
  for (const double value : values)
    if (!std::isnan(value)) sum += value, ++count;
  return count == 0 ? kNone : sum / count;
}

ClickUsers click_users(const Impressions& impressions, std::span<const std::uint8_t> counts) {
  check_scores(impressions.score, impressions.label);
  ClickUsers out;
  double both = 0, both_users = 0, all = 0, all_users = 0;
  std::vector<float> score, label;
  for (std::int64_t row = 0; row < impressions.rows(); ++row) {
    score.clear();
    label.clear();
    double loss = 0;
    for (auto i = static_cast<std::size_t>(impressions.offset[static_cast<std::size_t>(row)]);
         i < static_cast<std::size_t>(impressions.offset[static_cast<std::size_t>(row) + 1]); ++i) {
      if (!counts.empty() && counts[i] == 0) continue;
      score.push_back(impressions.score[i]);
      label.push_back(impressions.label[i]);
      loss += loss_of(static_cast<double>(impressions.score[i]), static_cast<double>(impressions.label[i]));
    }
    const auto n = static_cast<double>(score.size());
    const double area = auc(score, label);
    out.uauc.push_back(area);
    out.gauc.push_back(area * n);
    out.log_loss.push_back(n > 0 ? loss : kNone);
    if (!std::isnan(area)) both += n, ++both_users;
    if (n > 0) all += n, ++all_users;
  }
  for (double& value : out.gauc) value *= both_users / both;
  for (double& value : out.log_loss) value *= all_users / all;
  return out;
}

}  // namespace tessera
