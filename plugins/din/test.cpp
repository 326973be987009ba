#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "framework/eval/metrics.h"
#include "framework/nn/pair_testing.h"
#include "framework/plugin/testing.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::batch_of;
using testing::histories_of_lengths;
using testing::largest_difference;
using testing::Pair;
using testing::random_tokens;
using testing::row_of;
using testing::with_actions;

Registry& plugins() { return testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"); }

const std::string kHead = "plugin = \"click\"\nhidden = [12]\n";
const std::string kDin = "plugin = \"din\"\nwidth = 8\nunit = [6]\nmax_items = 9\ndeviation = 0.4\n";
const std::string kModels[] = {
    kDin, kDin + "item = \"concat\"\nsoftmax = true\nactivation = \"gelu\"\n",
    "plugin = \"din\"\nwidth = 8\nunit = []\nmax_items = 9\ndeviation = 0.4\nactions = 0\nsoftmax = "
    "true\nactivation = \"relu\"\n"};

Candidates whole_items(const Pair& pair, const std::vector<std::int32_t>& row, const std::vector<std::int32_t>& items) {
  Candidates out;
  out.row = row;
  out.tokens = pair.catalog->levels();
  for (const auto item : items) {
    const auto codes = pair.catalog->codes_of(item);
    out.code.insert(out.code.end(), codes.begin(), codes.end());
  }
  return out;
}

Tensor states(Pair& pair, const Histories& all, const std::vector<std::int32_t>& row,
              const std::vector<std::int32_t>& items) {
  return pair.model->extend(pair.model->encode(all), whole_items(pair, row, items), nullptr)->states;
}

}  // namespace

// The formula of the README with loops, from the parameters as they are: sums, no softmax.
TEST(Din, PairsEqualALoop) {
  Pair pair(plugins(), random_tokens(30, 2, 6), kDin, kHead);
  const Histories all = with_actions(histories_of_lengths({4, 0, 9}, 30));
  const std::vector<std::int32_t> row{0, 1, 2, 2}, items{5, 6, 7, 5};
  const Tensor got = states(pair, all, row, items);
  std::map<std::string, Parameter*> p;
  for (auto& [name, parameter] : pair.model->parameters()) p[name] = parameter;
  const auto weights = [&](const std::string& name) { return p.at(name)->value.values<float>(); };
  const auto tokens = pair.model->parameters()[0].second->value.values<float>(),
             actions = pair.model->parameters()[1].second->value.values<float>();
  const auto silu = [](double x) { return x / (1 + std::exp(-x)); };
  const auto vector = [&](std::int32_t item, int action) {
    std::vector<double> x(8, 0.0);
    const auto codes = pair.catalog->codes_of(item);
    for (std::size_t d = 0; d < 8; ++d) {
      for (int l = 0; l < 2; ++l)
        x[d] += static_cast<double>(
            tokens[static_cast<std::size_t>(pair.catalog->token_offset(l) + codes[static_cast<std::size_t>(l)]) * 8 +
                   d]);
      if (action >= 0) x[d] += static_cast<double>(actions[static_cast<std::size_t>(action) * 8 + d]);
    }
    return x;
  };
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto c = vector(items[i], -1);
    std::vector<double> interest(8, 0.0);
    const auto b = static_cast<std::size_t>(row[i]);
    for (auto k = static_cast<std::size_t>(all.offset[b]); k < static_cast<std::size_t>(all.offset[b + 1]); ++k) {
      const auto h = vector(all.item[k], all.action[k]);
      std::vector<double> x(h);
      x.insert(x.end(), c.begin(), c.end());
      for (std::size_t d = 0; d < 8; ++d) x.push_back(h[d] - c[d]);
      for (std::size_t d = 0; d < 8; ++d) x.push_back(h[d] * c[d]);
      double weight = static_cast<double>(weights("unit.1.bias")[0]);
      for (std::size_t j = 0; j < 6; ++j) {
        double z = static_cast<double>(weights("unit.0.bias")[j]);
        for (std::size_t d = 0; d < 32; ++d) z += x[d] * static_cast<double>(weights("unit.0.weight")[d * 6 + j]);
        weight += silu(z) * static_cast<double>(weights("unit.1.weight")[j]);
      }
      for (std::size_t d = 0; d < 8; ++d) interest[d] += weight * h[d];
    }
    std::vector<double> joined(interest);
    joined.insert(joined.end(), c.begin(), c.end());
    for (std::size_t d = 0; d < 8; ++d) joined.push_back(interest[d] * c[d]);
    for (std::size_t j = 0; j < 8; ++j) {
      double z = static_cast<double>(weights("out.bias")[j]);
      for (std::size_t d = 0; d < 24; ++d) z += joined[d] * static_cast<double>(weights("out.weight")[d * 8 + j]);
      EXPECT_NEAR(got.values<float>()[i * 8 + j], silu(z), 1e-5) << i;
    }
  }
}

TEST(Din, CandidatesDoNotSeeEachOtherAndOrderDoesNotMatter) {
  for (const std::string& model : kModels) {
    Pair pair(plugins(), random_tokens(30, 3, 4), model, kHead);
    Histories all = with_actions(histories_of_lengths({4, 0, 9}, 30));
    const Tensor together = states(pair, all, {0, 0, 1, 2, 2}, {5, 6, 7, 8, 9});
    const std::int32_t rows[] = {0, 0, 1, 2, 2};
    for (std::int32_t i = 0; i < 5; ++i)
      EXPECT_LT(largest_difference(states(pair, all, {rows[i]}, {5 + i}), together.row_range(i, i + 1)), 1e-6) << model;
    std::reverse(all.item.begin() + 4, all.item.end());
    std::reverse(all.action.begin() + 4, all.action.end());
    EXPECT_LT(largest_difference(states(pair, all, {0, 0, 1, 2, 2}, {5, 6, 7, 8, 9}), together), 1e-5) << model;
  }
}

TEST(Din, SoftmaxWeightsSumToOne) {
  // With equal items in the history, any weights that sum to one give the item itself, whatever its number of copies.
  Pair pair(plugins(), random_tokens(30, 3, 4), kDin + "softmax = true\n", kHead);
  Histories one, many;
  one.user = many.user = {0};
  one.item = {3};
  many.item.assign(7, 3);
  one.offset = {0, 1};
  many.offset = {0, 7};
  EXPECT_LT(largest_difference(states(pair, one, {0}, {5}), states(pair, many, {0}, {5})), 1e-6);
  Pair sum(plugins(), random_tokens(30, 3, 4), kDin, kHead);
  EXPECT_GT(largest_difference(states(sum, one, {0}, {5}), states(sum, many, {0}, {5})), 1e-4);
}

TEST(Din, LongHistoriesKeepTheNewestAndOwnActionsAreNotRead) {
  Pair pair(plugins(), random_tokens(30, 3, 4), kDin, kHead);
  const Histories longer = with_actions(histories_of_lengths({14}, 30));
  Histories kept = longer;
  kept.item.erase(kept.item.begin(), kept.item.begin() + 5);
  kept.action.erase(kept.action.begin(), kept.action.begin() + 5);
  kept.offset = {0, 9};
  EXPECT_EQ(largest_difference(states(pair, longer, {0}, {2}), states(pair, kept, {0}, {2})), 0.0);
  Histories flipped = longer;
  flipped.action[13] = static_cast<std::int8_t>(1 - flipped.action[13]);
  const auto before = pair.head->score_each(*pair.model, longer), after = pair.head->score_each(*pair.model, flipped);
  EXPECT_EQ(before, after);
}

TEST(Din, LearnsWhatIsLikedWithWhat) {
  // An item is liked where the history holds a liked item of the same half.
  Histories all = histories_of_lengths(std::vector<int>(40, 6), 12);
  for (std::size_t i = 0; i < all.item.size(); ++i) {
    bool liked = i % 6 == 0 && all.item[i] % 3 == 0;
    for (std::size_t k = i / 6 * 6; k < i; ++k) liked |= all.action[k] == 1 && (all.item[k] < 6) == (all.item[i] < 6);
    all.action.push_back(liked ? 1 : 0);
  }
  TrainBatch batch;
  for (std::size_t i = 0; i < all.item.size(); ++i) {
    for (std::size_t k = i / 6 * 6; k < i; ++k) {
      batch.histories.item.push_back(all.item[k]);
      batch.histories.action.push_back(all.action[k]);
    }
    batch.histories.user.push_back(0);
    batch.histories.offset.push_back(batch.histories.size());
    batch.target.push_back(all.item[i]);
    batch.label.push_back(static_cast<float>(all.action[i]));
  }
  std::vector<float> label(all.action.begin(), all.action.end());
  for (const std::string& model : {kModels[0], kModels[1]}) {
    Pair pair(plugins(), random_tokens(12, 1, 12), model, kHead);
    EXPECT_EQ(pair.form(), BatchForm::one_target);
    pair.train(batch, 300, 0.02);
    EXPECT_GT(auc(pair.head->score_each(*pair.model, all), label), 0.95) << model;
  }
}

TEST(Din, TheSameBitsForAnyNumberOfThreads) {
  for (const std::string& model : kModels) {
    Pair pair(plugins(), random_tokens(200, 3, 8), model + "dropout = 0.2", kHead);
    const TrainBatch batch = batch_of(with_actions(histories_of_lengths({9, 3, 5, 8, 2, 9, 9, 4}, 200)), pair.form());
    const auto parameters = pair.parameters();
    for (const std::size_t p : {std::size_t{0}, parameters.size() / 2})
      EXPECT_TRUE(same_bits([&] {
        const TrainingScope scope(3, 4);
        Tape tape;
        tape.backward(pair.head->loss(*pair.model, batch));
        const Tensor gradient = parameters[p].second->gradient.clone();
        for (auto& [name, parameter] : parameters) parameter->gradient = Tensor();
        return gradient;
      })) << model;
  }
}

TEST(DinGrad, WholeModelInDoublePrecision) {
  for (const std::string& model : {kModels[0], kModels[1]}) {
    Pair pair(plugins(), random_tokens(12, 3, 3), model + "dropout = 0.1", kHead + "activation = \"silu\"");
    const auto parameters = pair.parameters();
    for (auto& [name, parameter] : parameters) parameter->value = parameter->value.to(DType::f64);
    const TrainBatch batch = batch_of(with_actions(histories_of_lengths({4, 1, 5}, 12)), pair.form());
    const auto loss = [&] {
      const TrainingScope scope(3, 4);
      return pair.head->loss(*pair.model, batch);
    };
    {
      Tape tape;
      tape.backward(loss());
    }
    std::uint64_t stream = 0;
    for (const auto& entry : parameters) {
      const std::string& name = entry.first;
      Parameter* const parameter = entry.second;
      ASSERT_TRUE(parameter->gradient) << name << " has no gradient";
      Tensor direction(parameter->value.shape(), DType::f64);
      fill_normal(direction, 0.0, 1.0, 5, ++stream);
      const Tensor kept = parameter->value.clone();
      double analytic = 0.0;
      for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
        analytic += direction.values<double>()[i] * parameter->gradient.values<double>()[i];
      const auto moved = [&](double step) {
        for (std::size_t i = 0; i < direction.values<double>().size(); ++i)
          parameter->value.values<double>()[i] = kept.values<double>()[i] + step * direction.values<double>()[i];
        return loss().item();
      };
      const double numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
      parameter->value.copy_from(kept);
      EXPECT_NEAR(analytic, numeric, 2e-6 * std::max(1.0, std::abs(numeric))) << name;
    }
  }
}

TEST(Din, UnknownActionsAndHalfItemsAreNamed) {
  Pair pair(plugins(), random_tokens(12, 3, 3), kDin, kHead);
  Histories all = with_actions(histories_of_lengths({3}, 12));
  Candidates half = whole_items(pair, {0}, {1});
  half.tokens = 2;
  EXPECT_NE(message_of([&] {
              pair.model->extend(pair.model->encode(all), half, nullptr);
            }).find("din: extend() reads whole items of 3 codes"),
            std::string::npos);
  all.action[1] = 4;
  EXPECT_NE(message_of([&] { pair.model->encode(all); }).find("holds the action 4, but actions = 2 knows 0 .. 1"),
            std::string::npos);
}

}  // namespace tessera
