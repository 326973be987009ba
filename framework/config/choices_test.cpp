#include <gtest/gtest.h>

#include "framework/config/config.h"

namespace tessera {
namespace {

std::vector<std::string> problems_of(const std::string& toml) {
  try {
    Config::parse("a.toml", toml).choices("search");
  } catch (const ConfigError& error) {
    return error.problems();
  }
  return {};
}

}  // namespace

TEST(Choices, KeysAreQuotedOrTables) {
  const Config config =
      Config::parse("a.toml",
                    "[search]\n\"head.loss\" = [\"bpr\", \"softmax\"]\n\"tokenizer.widths\" = [[64], [64, 32]]\n"
                    "[search.model]\nlayers = [1, 2]\ndropout = [0.5]\n");
  const auto choices = config.choices("search");
  ASSERT_EQ(choices.size(), 4u);
  using Values = std::vector<std::string>;
  EXPECT_EQ(choices[0].key, "head.loss");
  EXPECT_EQ(choices[0].where, "a.toml:2:1");
  EXPECT_EQ(choices[0].values, (Values{"\"bpr\"", "\"softmax\""}));
  EXPECT_EQ(choices[1].values, (Values{"[64]", "[64, 32]"}));
  EXPECT_EQ(choices[2].key, "model.layers");
  EXPECT_EQ(choices[2].values, (Values{"1", "2"}));
  EXPECT_EQ(choices[3].values, (Values{"0.5"}));
}

TEST(Choices, SayWhatIsNoList) {
  using Problems = std::vector<std::string>;
  EXPECT_EQ(problems_of("[search]\n\"model.layers\" = 3\n\"head.loss\" = []\n[search.model]\nlayers = [1]\n"),
            (Problems{"a.toml:2:1: 'model.layers' in [search] is the integer 3, expected a list of values to try",
                      "a.toml:3:1: 'head.loss' in [search] is an empty list, expected one value to try or more"}));
  EXPECT_EQ(problems_of("[search]\n\"model.layers\" = [3]\n[search.model]\nlayers = [1]\n"),
            (Problems{"a.toml:4:1: 'model.layers' in [search] is given twice"}));
  EXPECT_EQ(problems_of("[search]\n"), (Problems{"a.toml:1:2: [search] holds no list of values to try"}));
  EXPECT_EQ(problems_of("[model]\n"), (Problems{"a.toml: section [search] is missing (present: model)"}));
}

TEST(Config, IsTheSameWithoutASection) {
  const Config config = Config::parse("a.toml", "name = \"x\"\n[search]\na = [1]\n[model]\nwidth = 2\n");
  EXPECT_EQ(config.without("search").toml(), "name = \"x\"\n\n[model]\nwidth = 2\n");
  EXPECT_TRUE(config.has("search"));
}

TEST(Section, ReadsNumbersOfAnyKind) {
  const Section section = Section::parse("metrics", "a = 3\n\"b/c\" = 0.5\nd = \"x\"\n");
  EXPECT_EQ(section.number("a"), 3.0);
  EXPECT_EQ(section.number("b/c"), 0.5);
  try {
    section.number("d");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "metrics:3:1: 'd' in [metrics] is the text \"x\", expected a number");
  }
  EXPECT_THROW(section.number("e"), ConfigError);
}

}  // namespace tessera
