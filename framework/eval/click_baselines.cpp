#include "framework/eval/click_baselines.h"

#include <algorithm>
#include <cmath>

#include "framework/data/batches.h"

namespace tessera {
namespace {

struct Click {
  std::int32_t user, item;
  double label;
};

std::vector<Click> training_clicks(const Dataset& data) {
  check_clicks(data);
  const Interactions& all = data.interactions;
  std::vector<Click> out;
  for (std::int64_t user = 0; user < all.users(); ++user)
    for (auto i = static_cast<std::size_t>(all.begin(user)); i < static_cast<std::size_t>(all.end(user)); ++i)
      if (all.part[i] == Part::train)
        out.push_back({static_cast<std::int32_t>(user), all.item[i], static_cast<double>(all.label[i])});
  if (out.empty()) throw DataError(str("'", data.name, "' has no training interactions to fit sanity lines on"));
  return out;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double logit_of(double share) {
  share = std::clamp(share, 1e-6, 1 - 1e-6);
  return std::log(share / (1 - share));
}

// Gradient and curvature of the sum of log losses, by user or by item.
struct Slopes {
  std::vector<double> first, second;
  explicit Slopes(std::size_t size) : first(size, 0.0), second(size, 0.0) {}
  void add(std::int32_t at, double p, double y) {
    first[static_cast<std::size_t>(at)] += p - y;
    second[static_cast<std::size_t>(at)] += p * (1 - p);
  }
  double step(std::vector<double>& value, double penalty) const {  // the largest move
    double most = 0;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const double move = std::clamp(-(first[i] + penalty * value[i]) / (second[i] + penalty), -2.0, 2.0);
      value[i] += move;
      most = std::max(most, std::abs(move));
    }
    return most;
  }
};

}  // namespace

std::vector<float> item_mean_scores(const Dataset& data, const Impressions& impressions, double prior) {
  const auto clicks = training_clicks(data);
  std::vector<double> sum(static_cast<std::size_t>(data.item_count())), count(sum.size());
  double mean = 0;
  for (const Click& click : clicks) {
    sum[static_cast<std::size_t>(click.item)] += click.label;
    ++count[static_cast<std::size_t>(click.item)];
    mean += click.label / static_cast<double>(clicks.size());
  }
  std::vector<float> out;
  for (const std::int32_t item : impressions.item) {
    const auto i = static_cast<std::size_t>(item);
    out.push_back(static_cast<float>(logit_of((sum[i] + prior * mean) / (count[i] + prior))));
  }
  return out;
}

LogisticIds fit_logistic_ids(const Dataset& data, double penalty) {
  check(penalty > 0, "logistic regression: penalty ", penalty, ", expected above 0");
  const auto clicks = training_clicks(data);
  LogisticIds model;
  model.penalty = penalty;
  model.user.assign(static_cast<std::size_t>(data.users()), 0.0);
  model.item.assign(static_cast<std::size_t>(data.item_count()), 0.0);
  double mean = 0;
  for (const Click& click : clicks) mean += click.label / static_cast<double>(clicks.size());
  model.intercept = logit_of(mean);
  const auto predict = [&](const Click& click) {
    return sigmoid(model.intercept + model.user[static_cast<std::size_t>(click.user)] +
                   model.item[static_cast<std::size_t>(click.item)]);
  };
  for (int round = 0; round < 200; ++round) {
    Slopes users(model.user.size()), items(model.item.size()), all(1);
    for (const Click& click : clicks) users.add(click.user, predict(click), click.label);
    double moved = users.step(model.user, penalty);
    for (const Click& click : clicks) items.add(click.item, predict(click), click.label);
    moved = std::max(moved, items.step(model.item, penalty));
    for (const Click& click : clicks) all.add(0, predict(click), click.label);
    std::vector<double> intercept{model.intercept};
    moved = std::max(moved, all.step(intercept, 1e-9));
    model.intercept = intercept[0];
    // At the optimum the numbers of each side sum to zero, since the intercept is free: centring them saves rounds.
    for (auto* side : {&model.user, &model.item}) {
      double shift = 0;
      for (const double value : *side) shift += value / static_cast<double>(side->size());
      for (double& value : *side) value -= shift;
      model.intercept += shift;
    }
    if (moved < 1e-6) break;
  }
  return model;
}

std::vector<float> logistic_scores(const LogisticIds& model, const Impressions& impressions) {
  std::vector<float> out;
  for (std::size_t row = 0; row < impressions.user.size(); ++row)
    for (auto i = static_cast<std::size_t>(impressions.offset[row]);
         i < static_cast<std::size_t>(impressions.offset[row + 1]); ++i)
      out.push_back(static_cast<float>(model.intercept + model.user[static_cast<std::size_t>(impressions.user[row])] +
                                       model.item[static_cast<std::size_t>(impressions.item[i])]));
  return out;
}

std::vector<SanityLine> sanity_lines(const Dataset& data, const Impressions& impressions) {
  const Impressions valid = impressions_of(data, Part::valid);
  LogisticIds best;
  double least = 0;
  for (const double penalty : {0.3, 1.0, 3.0, 10.0, 30.0}) {
    if (valid.size() == 0 && penalty != 3.0) continue;
    LogisticIds model = fit_logistic_ids(data, penalty);
    const double loss = valid.size() == 0 ? 0.0 : log_loss(logistic_scores(model, valid), valid.label);
    if (best.user.empty() || loss < least) best = std::move(model), least = loss;
  }
  return {{"item_mean", item_mean_scores(data, impressions)}, {"logistic", logistic_scores(best, impressions)}};
}

}  // namespace tessera
