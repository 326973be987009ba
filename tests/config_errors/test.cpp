// What a user is told about a wrong pipeline. Each file beside this one is a case:
//   # expected: file.toml:7:1: what is wrong       one such line a problem, in this order, and nothing more
// "..." stands for any text. base/ holds what the cases include.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "framework/pipeline/pipeline.h"
#include "framework/plugin/loader.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
const fs::path kFolder = fs::path(TESSERA_SOURCE_DIR) / "tests/config_errors";

std::vector<std::string> cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kFolder))
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> expected_problems(const std::string& file) {
  const std::string mark = "# expected: ";
  std::vector<std::string> problems;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line) && line.starts_with(mark);)
    problems.push_back(line.substr(mark.size()));
  return problems;
}

std::vector<std::string> problems_of(const std::string& file) {
  Registry registry;
  Loader loader(registry);
  try {
    const Pipeline pipeline(Config::load({file}), registry);
  } catch (const ConfigError& e) {
    return e.problems();
  }
  return {};
}

bool matches(std::string_view text, std::string_view pattern) {
  const std::size_t gap = pattern.find("...");
  if (gap == std::string_view::npos) return text == pattern;
  if (!text.starts_with(pattern.substr(0, gap))) return false;
  for (std::size_t end = gap; end <= text.size(); ++end)
    if (matches(text.substr(end), pattern.substr(gap + 3))) return true;
  return false;
}

class ConfigErrors : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    back_ = fs::current_path();
    fs::current_path(kFolder);
  }
  void TearDown() override { fs::current_path(back_); }
  fs::path back_;
};

}  // namespace

TEST_P(ConfigErrors, SaysWhatIsWrong) {
  const std::string file = GetParam() + ".toml";
  const auto expected = expected_problems(file), found = problems_of(file);
  ASSERT_FALSE(expected.empty()) << file << " begins with no '# expected: ' line";
  std::string all;
  for (const auto& problem : found) all += "# expected: " + problem + "\n";
  ASSERT_EQ(found.size(), expected.size()) << all;
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_TRUE(matches(found[i], expected[i])) << expected[i] << "\n" << all;
}

INSTANTIATE_TEST_SUITE_P(Files, ConfigErrors, ::testing::ValuesIn(cases()),
                         [](const auto& file) { return file.param; });

TEST(ConfigErrorsBase, IsAGoodPipeline) {
  EXPECT_EQ(problems_of((kFolder / "base/complete.toml").string()), std::vector<std::string>{});
}

}  // namespace tessera
