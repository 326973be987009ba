#include "framework/catalog/health.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

// Quantises a feature of two columns to signs: level 0 the first column's, level 1 the second's.
class Signs final : public Tokenizer {
 public:
  void fit(const Dataset&, FitContext&) override {}
  ItemTokens tokens(const Dataset& data) const override {
    ItemTokens out;
    out.levels = {{"text/0", 2, "text"}, {"text/1", 2, "text"}};
    for (const float v : data.features.at("text").values.values<float>()) out.codes.push_back(v < 0 ? 0 : 1);
    return out;
  }
  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>&) const override { return {}; }
  Tensor reconstruct(std::span<const std::int32_t> codes, int levels, const std::string&) const override {
    Tensor out = Tensor::zeros({static_cast<std::int64_t>(codes.size() / 2), 2});
    for (std::size_t i = 0; i < codes.size(); ++i)
      if (static_cast<int>(i % 2) < levels) out.data<float>()[i] = codes[i] == 0 ? -1.0f : 1.0f;
    return out;
  }
  std::vector<HealthFigure> health(const Dataset&) const override { return {{"text: share of signs", 0.25}}; }
  void visit(StateVisitor&) override {}
};

class Numbers final : public Tokenizer {
 public:
  void fit(const Dataset&, FitContext&) override {}
  ItemTokens tokens(const Dataset& data) const override {
    ItemTokens out;
    out.levels = {{"item", static_cast<int>(data.item_count()), ""}};
    for (std::int32_t i = 0; i < data.item_count(); ++i) out.codes.push_back(i);
    return out;
  }
  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>&) const override { return {}; }
  void visit(StateVisitor&) override {}
};

Dataset corners(std::int64_t items) {  // (+-1, +-1) and a little noise
  Dataset data;
  ItemFeatures text{"text", Tensor({items, 2}), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 1)};
  fill_normal(text.values, 0.0, 0.1, 1, 0);
  for (std::int64_t i = 0; i < items; ++i) {
    data.items.ids.push_back(std::to_string(i));
    text.values.data<float>()[2 * i] += i % 2 ? 1.0f : -1.0f;
    text.values.data<float>()[2 * i + 1] += i / 2 % 2 ? 1.0f : -1.0f;
  }
  data.features["text"] = std::move(text);
  return data;
}

HealthReport measure(const Dataset& data, const Tokenizer& tokenizer, CollisionPolicy policy,
                     const HealthOptions& options = {}) {
  const ItemTokens tokens = tokenizer.tokens(data);
  return measure_health(data, tokenizer, tokens, Catalog(tokens, policy, {}), options);
}

}  // namespace

TEST(Health, NumbersOfAKnownTokenizer) {
  const Dataset data = corners(40);
  HealthOptions options;
  options.nearest = 9;
  const HealthReport report = measure(data, Signs(), CollisionPolicy::counter, options);
  ASSERT_EQ(report.levels.size(), 2u);
  EXPECT_EQ(report.levels[0].used, 2);
  EXPECT_NEAR(report.levels[0].perplexity, 2.0, 1e-12);
  EXPECT_EQ(report.colliding_items, 40);
  EXPECT_EQ(report.largest_group, 10);
  EXPECT_EQ(report.identifier_levels, 3);
  EXPECT_TRUE(report.unique);
  ASSERT_EQ(report.prefixes.size(), 3u);
  ASSERT_EQ(report.token_prefixes.size(), 2u);
  EXPECT_EQ(report.token_prefixes[1].distinct, 4);
  EXPECT_EQ(report.prefixes[0].distinct, 2);
  EXPECT_EQ(report.prefixes[1].distinct, 4);
  EXPECT_EQ(report.prefixes[1].largest_group, 10);
  EXPECT_EQ(report.prefixes[2].distinct, 40);
  ASSERT_EQ(report.modalities.size(), 1u);
  EXPECT_NEAR(report.modalities[0].r2[0], 0.5, 0.02);
  EXPECT_NEAR(report.modalities[0].r2[1], 0.99, 0.01);
  EXPECT_EQ(report.modalities[0].neighbours, 1.0);  // the nine others of each corner, before and after
  EXPECT_NEAR(report.modalities[0].chance, 9.0 / 39.0, 1e-12);
}

TEST(Health, ThresholdsPassOrFail) {
  const Dataset data = corners(40);
  HealthReport report = measure(data, Signs(), CollisionPolicy::counter);
  EXPECT_FALSE(report.passed());  // 4 prefixes of length 2 among 40 items
  EXPECT_NE(report.table().find("different prefixes of length 2  0.1000  at least 0.5000  FAIL"), std::string::npos)
      << report.table();
  EXPECT_NE(report.table().find("health: FAIL\n"), std::string::npos);
  EXPECT_NE(report.json().find(
                "{\"passed\": false, \"items\": 40, \"levels\": [{\"name\": \"text/0\", \"codes\": 2, \"used\": 2"),
            std::string::npos)
      << report.json();
  HealthOptions options;
  options.prefixes = 0.05;
  report = measure(data, Signs(), CollisionPolicy::counter, options);
  EXPECT_TRUE(report.passed());
  EXPECT_NE(report.table().find("health: PASS\n"), std::string::npos);
  options.usage = options.perplexity = options.prefixes = options.reconstruction = options.neighbours = 0.0;
  EXPECT_TRUE(measure(data, Signs(), CollisionPolicy::none, options).checks.empty());
}

TEST(Health, TokenizersAddFiguresOfTheirOwn) {
  const HealthReport report = measure(corners(40), Signs(), CollisionPolicy::counter);
  EXPECT_NE(report.table().find("  text: share of signs  0.2500\n"), std::string::npos) << report.table();
  EXPECT_NE(report.json().find("\"figures\": [{\"name\": \"text: share of signs\", \"value\": 0.25}]"),
            std::string::npos)
      << report.json();
}

// Nine items of one corner and three of another: nine ranks for two codes.
TEST(Health, SaysWhereThePolicyNeedsMoreCodesThanACodebook) {
  Dataset data = corners(12);
  for (int i = 0; i < 12; ++i)
    for (int d = 0; d < 2; ++d) data.features["text"].values.data<float>()[2 * i + d] = i < 9 ? 1.0f : -1.0f;
  const HealthReport report = measure(data, Signs(), CollisionPolicy::counter);
  EXPECT_EQ(report.policy_codes, 9);
  EXPECT_NE(report.table().find("the policy's level has 9 codes, more than a codebook (2)"), std::string::npos);
  const HealthReport none = measure(data, Signs(), CollisionPolicy::none);
  EXPECT_EQ(none.policy_codes, 0);
  EXPECT_EQ(none.table().find("the policy's level"), std::string::npos);
}

TEST(Health, DeadCodesAndCollapseAreSeen) {
  Dataset data = corners(40);
  data.features["text"].values.fill(1.0);
  const HealthReport report = measure(data, Signs(), CollisionPolicy::counter);
  EXPECT_EQ(report.levels[0].used, 1);
  EXPECT_NEAR(report.levels[0].usage, 0.5, 1e-12);
  EXPECT_FALSE(report.passed());
  EXPECT_EQ(report.largest_group, 40);
}

TEST(Health, ItemNumbersPass) {
  const HealthReport report = measure(corners(30), Numbers(), CollisionPolicy::none);
  EXPECT_TRUE(report.passed()) << report.table();
  EXPECT_EQ(report.levels[0].usage, 1.0);
  EXPECT_TRUE(report.modalities.empty());
  EXPECT_TRUE(report.unique);
}

TEST(Health, ItemsWithoutCodesAreLeftOut) {
  Dataset data = corners(41);
  data.features["text"].present[40] = 0;
  const Signs tokenizer;
  ItemTokens tokens = tokenizer.tokens(data);
  tokens.codes[80] = tokens.codes[81] = -1;
  const HealthReport report =
      measure_health(data, tokenizer, tokens, Catalog(tokens, CollisionPolicy::counter, {}), {});
  EXPECT_NEAR(report.levels[0].perplexity, 2.0, 1e-12);
  EXPECT_EQ(report.prefixes[1].distinct, 5);
}

TEST(Health, ASampleIsTheSameForAnyNumberOfThreads) {
  const Dataset data = corners(400);
  HealthOptions options;
  options.queries = 50;
  options.pool = 300;
  std::string first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    const std::string text = measure(data, Signs(), CollisionPolicy::counter, options).json();
    if (count == 1) first = text;
    EXPECT_EQ(text, first);
  }
  set_threads(1);
}

}  // namespace tessera
