#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "plugins/generative_decoder/forms_testing.h"
#include "tensor/core/testing.h"

namespace tessera {
namespace {

using testing::histories_of_lengths;
using testing::Pair;
using testing::random_tokens;
using testing::row_of;

constexpr std::int32_t kItems = 200;
constexpr int kBest = 6;
const std::vector<int> kLengths{5, 0, 9, 12, 1};  // the models read 9 items

bool attends(const Form& form) {
  return form.head.find("\"cross\"") != std::string::npos && form.head.find("from_summary") == std::string::npos;
}

// What a row may get: not its own items, and of the others two in three.
RankRequest request_of(const Histories& histories) {
  RankRequest request;
  request.k = kBest;
  request.excluded_offset = histories.offset;
  request.excluded = histories.item;
  for (int i = 0; i < kItems; ++i) request.allowed.push_back(i % 3 == 0 ? 0 : 1);
  return request;
}

struct Asked {
  std::vector<std::int64_t> offset{0};
  std::vector<std::int32_t> items;
};

Asked best_of(Pair& pair, const Histories& histories, const RankRequest& request) {
  Asked asked;
  asked.items = pair.head->rank(*pair.model, histories, request).item;
  for (std::int64_t b = 0; b < histories.rows(); ++b) asked.offset.push_back((b + 1) * request.k);
  return asked;
}

Explanation explain(Pair& pair, const Histories& histories, const RankRequest& request, const Asked& asked) {
  return pair.head->explain(*pair.model, histories, request, asked.offset, asked.items);
}

double score_of(const std::vector<LevelReason>& levels) {
  double sum = 0.0;
  for (const LevelReason& level : levels) sum += level.log_likelihood;
  return sum;
}

}  // namespace

TEST(Explain, LevelsAddUpToTheScoreAndProbabilitiesToOne) {
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(kItems, 3, 8), form.model, form.head);
    EXPECT_TRUE(pair.head->spec(pair.model->spec()).explains);
    const Histories histories = histories_of_lengths(kLengths, kItems);
    const RankRequest request = request_of(histories);
    const Asked asked = best_of(pair, histories, request);
    const std::vector<float> score = pair.head->score(*pair.model, histories, asked.offset, asked.items);
    const Explanation explanation = explain(pair, histories, request, asked);
    ASSERT_EQ(explanation.items.size(), asked.items.size());
    double trie = 0.0, filters = 0.0;
    for (std::size_t a = 0; a < asked.items.size(); ++a) {
      const auto codes = pair.catalog->codes_of(asked.items[a]);
      ASSERT_EQ(explanation.items[a].size(), 3u);
      EXPECT_EQ(static_cast<float>(score_of(explanation.items[a])), score[a]) << form.name;
      for (std::size_t l = 0; l < 3; ++l) {
        const LevelReason& level = explanation.items[a][l];
        EXPECT_EQ(level.code, codes[l]);
        EXPECT_GE(level.trie_removed, 0.0);
        EXPECT_GE(level.filters_removed, 0.0);
        EXPECT_LE(level.log_likelihood_left, 0.0);
        EXPECT_LE(level.log_likelihood, level.log_likelihood_left) << form.name;
        const double left = std::exp(level.log_likelihood - level.log_likelihood_left);
        EXPECT_NEAR(left + level.trie_removed + level.filters_removed, 1.0, 1e-5) << form.name;
        trie += level.trie_removed;
        filters += level.filters_removed;
      }
    }
    EXPECT_GT(filters, 0.1) << form.name;
    EXPECT_EQ(trie > 0.0, form.head.find("legal") == std::string::npos) << form.name;
  }
}

TEST(Explain, AttentionAddsUpToOneOverTheItemsThatWereRead) {
  int forms = 0;
  for (const Form& form : kForms) {
    if (!attends(form)) continue;
    ++forms;
    Pair pair(plugins(), random_tokens(kItems, 3, 8), form.model, form.head);
    const Histories histories = histories_of_lengths(kLengths, kItems);
    const RankRequest request = request_of(histories);
    const Explanation explanation = explain(pair, histories, request, best_of(pair, histories, request));
    EXPECT_EQ(explanation.weight, Explanation::Weight::attention) << form.name;
    for (std::size_t a = 0; a < explanation.items.size(); ++a)
      for (const LevelReason& level : explanation.items[a]) {
        const auto length = static_cast<std::size_t>(kLengths[a / kBest]);
        ASSERT_EQ(level.weight.size(), length);
        const double sum = std::accumulate(level.weight.begin(), level.weight.end(), 0.0);
        EXPECT_NEAR(sum, length > 0 ? 1.0 : 0.0, 1e-9) << form.name;
        for (std::size_t i = 0; i < length; ++i) EXPECT_EQ(level.weight[i] > 0.0, i + 9 >= length) << form.name;
      }
  }
  EXPECT_EQ(forms, 2);
}

// Without positions equal items have equal states, three tokens each, so they must get equal shares.
TEST(Explain, EqualItemsShareTheAttentionEqually) {
  Pair pair(plugins(), random_tokens(kItems, 3, 8), kModel + "causal = false\ninput = \"tokens\"\npositions = \"none\"",
            kHead + "form = \"cross\"\nlayers = 1\nheads = 1");
  Histories histories;
  histories.user = {-1};
  histories.item = {7, 7, 30, 7};
  histories.offset = {0, 4};
  RankRequest request;
  request.k = 2;
  const Explanation explanation = explain(pair, histories, request, best_of(pair, histories, request));
  for (const auto& levels : explanation.items)
    for (const LevelReason& level : levels) {
      EXPECT_NEAR(level.weight[0], level.weight[1], 1e-6);
      EXPECT_NEAR(level.weight[0], level.weight[3], 1e-6);
      EXPECT_GT(std::abs(level.weight[0] - level.weight[2]), 1e-6);
    }
}

TEST(Explain, LeavingAnItemOutIsTheDifferenceOfTwoScores) {
  for (const Form& form : kForms) {
    if (attends(form)) continue;
    Pair pair(plugins(), random_tokens(kItems, 3, 8), form.model, form.head);
    const Histories histories = histories_of_lengths(kLengths, kItems);
    const RankRequest request = request_of(histories);
    const Asked asked = best_of(pair, histories, request);
    const Explanation explanation = explain(pair, histories, request, asked);
    EXPECT_EQ(explanation.weight, Explanation::Weight::left_out) << form.name;
    for (std::size_t b = 0; b < kLengths.size(); ++b) {
      const Histories row = row_of(histories, b);
      const std::vector<std::int32_t> items(asked.items.begin() + static_cast<std::ptrdiff_t>(b * kBest),
                                            asked.items.begin() + static_cast<std::ptrdiff_t>((b + 1) * kBest));
      const std::vector<std::int64_t> offset{0, kBest};
      const auto score = [&](std::vector<std::int32_t> history) {
        Histories one;
        one.user = row.user;
        one.item = std::move(history);
        one.offset.push_back(one.size());
        return pair.head->score(*pair.model, one, offset, items);
      };
      const std::size_t unread = row.item.size() > 9 ? row.item.size() - 9 : 0;
      const std::vector<std::int32_t> read(row.item.begin() + static_cast<std::ptrdiff_t>(unread), row.item.end());
      const std::vector<float> whole = score(read);
      for (std::size_t i = 0; i < row.item.size(); ++i) {
        std::vector<std::int32_t> rest = read;
        if (i >= unread) rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i - unread));
        const std::vector<float> without = score(rest);
        for (std::size_t a = 0; a < kBest; ++a) {
          double sum = 0.0;
          for (const LevelReason& level : explanation.items[b * kBest + a]) {
            ASSERT_EQ(level.weight.size(), row.item.size());
            EXPECT_TRUE(i >= unread || level.weight[i] == 0.0) << form.name;
            sum += level.weight[i];
          }
          EXPECT_NEAR(sum, static_cast<double>(whole[a]) - static_cast<double>(without[a]), 1e-4) << form.name;
        }
      }
    }
  }
}

// Without weights every code is as likely as another, so what is removed can be counted.
TEST(Explain, WhatIsRemovedIsCountedOnATinyCatalogue) {
  ItemTokens tokens = random_tokens(1, 2, 4);
  tokens.codes = {0, 0, 0, 1, 1, 2, 2, 3, 2, 0};  // no item begins with 3
  for (const std::string& form : {std::string("light"), std::string("cross"), std::string("anchors")}) {
    Pair pair(plugins(), tokens, kModel, "plugin = \"generative_decoder\"\ndeviation = 0.0\nform = \"" + form + "\"");
    const Histories histories = histories_of_lengths({3, 2}, 5);
    RankRequest request;  // row 0 may not get item 2, alone behind its first code, and item 1; row 1 anything
    request.excluded_offset = {0, 2, 2};
    request.excluded = {2, 1};
    const Asked asked{{0, 2, 3}, {0, 2, 0}};
    const Explanation explanation = explain(pair, histories, request, asked);
    const auto expect = [&](const LevelReason& level, double trie, double filters, double left) {
      EXPECT_NEAR(level.log_likelihood, std::log(0.25), 1e-6) << form;
      EXPECT_NEAR(level.trie_removed, trie, 1e-6) << form;
      EXPECT_NEAR(level.filters_removed, filters, 1e-6) << form;
      EXPECT_NEAR(std::exp(level.log_likelihood_left), left, 1e-6) << form;
    };
    expect(explanation.items[0][0], 0.25, 0.25, 0.5);  // 0 and 2 are left
    expect(explanation.items[0][1], 0.5, 0.25, 1.0);   // behind 0: 0 is left, 1 is item 1
    expect(explanation.items[1][0], 0.25, 0.25, 0.0);  // item 2 is ruled out itself
    expect(explanation.items[1][1], 0.75, 0.25, 0.0);
    expect(explanation.items[2][0], 0.25, 0.0, 1.0 / 3.0);
    expect(explanation.items[2][1], 0.5, 0.0, 0.5);
  }
}

TEST(Explain, ABatchSaysWhatItsRowsSayAlone) {
  for (const Form& form : kForms) {
    Pair pair(plugins(), random_tokens(kItems, 3, 8), form.model, form.head);
    const Histories histories = histories_of_lengths(kLengths, kItems);
    const RankRequest request = request_of(histories);
    const Asked asked = best_of(pair, histories, request);
    const Explanation together = explain(pair, histories, request, asked);
    for (std::size_t b = 0; b < kLengths.size(); ++b) {
      const Histories row = row_of(histories, b);
      const Asked own{{0, kBest},
                      {asked.items.begin() + static_cast<std::ptrdiff_t>(b * kBest),
                       asked.items.begin() + static_cast<std::ptrdiff_t>((b + 1) * kBest)}};
      const Explanation alone = explain(pair, row, request_of(row), own);
      for (std::size_t a = 0; a < kBest; ++a)
        for (std::size_t l = 0; l < 3; ++l) {
          const LevelReason &x = together.items[b * kBest + a][l], &y = alone.items[a][l];
          EXPECT_NEAR(x.log_likelihood, y.log_likelihood, 1e-4) << form.name;
          EXPECT_NEAR(x.trie_removed, y.trie_removed, 1e-4) << form.name;
          EXPECT_NEAR(x.filters_removed, y.filters_removed, 1e-4) << form.name;
          for (std::size_t i = 0; i < x.weight.size(); ++i) EXPECT_NEAR(x.weight[i], y.weight[i], 1e-4) << form.name;
        }
    }
  }
}

TEST(Explain, AbsentCodesHaveTheirLikelihoodToo) {
  ItemTokens tokens = random_tokens(40, 3, 5);
  tokens.codes = {0, 1, 2, 0, 1, -1, 0, -1, 1, 1, 0, 0};
  for (const Form& form : kForms) {
    Pair pair(plugins(), tokens, form.model, form.head);
    const Histories histories = histories_of_lengths({3}, 4);
    const Asked asked{{0, 4}, {0, 1, 2, 3}};
    const Explanation explanation = explain(pair, histories, {}, asked);
    EXPECT_EQ(explanation.items[1][2].code, -1);
    const std::vector<float> score = pair.head->score(*pair.model, histories, asked.offset, asked.items);
    for (std::size_t a = 0; a < 4; ++a) EXPECT_EQ(static_cast<float>(score_of(explanation.items[a])), score[a]);
  }
}

}  // namespace tessera
