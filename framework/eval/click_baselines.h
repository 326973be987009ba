#pragma once

#include <string>
#include <vector>

#include "framework/eval/clicks.h"
#include "tensor/core/export.h"

// Click prediction without a model of histories: the lines that any model must beat. Deterministic, fitted on the
// training part alone.
namespace tessera {

struct SanityLine {
  std::string name;          // "item_mean", "logistic"
  std::vector<float> score;  // (N) logits of the impressions
};

// Logit of the share of clicks among the item's training interactions, smoothed: `prior` interactions at the training
// mean are added to each item's.
TESSERA_API std::vector<float> item_mean_scores(const Dataset& data, const Impressions& impressions,
                                                double prior = 10.0);

// Logistic regression on user and item ids with an intercept: the least of the sum of log losses + penalty / 2 (sum of
// squares of the users' and items' numbers).
struct LogisticIds {
  double intercept = 0, penalty = 0;
  std::vector<double> user, item;
};
// One Newton step a number, round by round, until no number moves (or 200 rounds).
TESSERA_API LogisticIds fit_logistic_ids(const Dataset& data, double penalty);
TESSERA_API std::vector<float> logistic_scores(const LogisticIds& model, const Impressions& impressions);

// Both lines. The penalty is that of .3, 1, 3, 10, 30 with the least log loss on the validation part, or 3 where there
// is none.
TESSERA_API std::vector<SanityLine> sanity_lines(const Dataset& data, const Impressions& impressions);

}  // namespace tessera
