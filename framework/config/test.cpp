#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "framework/config/config.h"

namespace tessera {
namespace {

struct Options {
  int width = 64;
  std::int64_t items = 0;
  double dropout = 0.1;
  bool shuffle = false;
  std::string path;
  std::string pooling = "mean";
  std::vector<std::int64_t> layers{2, 3};
  std::vector<std::string> fields{"title"};

  template <class V>
  void describe(V& v) {
    v("width", width, "embedding width", 1, 8192);
    v("items", items, "items in all", 0, std::numeric_limits<std::int64_t>::max());
    v("dropout", dropout, "drop probability", 0.0, 0.9);
    v("shuffle", shuffle, "permute the rows");
    v("path", path, "file to read");
    v("pooling", pooling, "how tokens are joined", {"mean", "sum"});
    v("layers", layers, "blocks a stage", 1, 9);
    v("fields", fields, "text fields");
  }
};

template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no error";
}

std::string read_error(const std::string& toml) {
  return error_of([&] { Section::parse("tokenizer", toml).read<Options>(); });
}

class ConfigFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / ("tessera_config_" + std::to_string(::getpid()) + info->name());
    std::filesystem::create_directories(folder_);
    back_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
  }
  void TearDown() override {
    std::filesystem::current_path(back_);
    std::filesystem::remove_all(folder_);
  }
  static void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::absolute(name).parent_path());
    std::ofstream(name) << text;
  }
  std::filesystem::path folder_, back_;
};

}  // namespace

TEST(Section, ReadsEveryType) {
  const auto o = Section::parse("tokenizer",
                                "plugin = 'x'\nwidth = 32\nitems = 5_000_000_000\ndropout = 0\nshuffle = true\npath = "
                                "'a b'\npooling = 'sum'\n"
                                "layers = [1, 9]\nfields = []\n")
                     .read<Options>();
  EXPECT_EQ(o.width, 32);
  EXPECT_EQ(o.items, 5000000000);
  EXPECT_EQ(o.dropout, 0.0);
  EXPECT_TRUE(o.shuffle);
  EXPECT_EQ(o.path, "a b");
  EXPECT_EQ(o.pooling, "sum");
  EXPECT_EQ(o.layers, (std::vector<std::int64_t>{1, 9}));
  EXPECT_TRUE(o.fields.empty());
}

TEST(Section, DefaultsWhereNothingIsSaid) {
  const auto o = Section::empty("tokenizer").read<Options>();
  EXPECT_EQ(o.width, 64);
  EXPECT_EQ(o.fields, std::vector<std::string>{"title"});
}

TEST(Section, TellsEveryProblemInReadingOrder) {
  EXPECT_EQ(
      read_error("widht = 3\n  dropout = \"high\"\nitems = -1\npooling = 'maen'\nlayers = [1, 'x', 10]\nshuffle = 1\nx "
                 "= 2024-01-02"),
      "tokenizer:1:1: unknown key 'widht' in [tokenizer]; did you mean 'width'? (known: plugin, width, items, dropout, "
      "shuffle, path, "
      "pooling, layers, fields)\n"
      "tokenizer:2:3: 'dropout' in [tokenizer] is the text \"high\", expected a number, 0 to 0.9 (drop probability)\n"
      "tokenizer:3:1: 'items' in [tokenizer] is the integer -1, expected an integer, 0 or more (items in all)\n"
      "tokenizer:4:1: 'pooling' in [tokenizer] is the text \"maen\", expected one of \"mean\", \"sum\" (how tokens are "
      "joined); did you "
      "mean 'mean'?\n"
      "tokenizer:5:14: 'layers[1]' in [tokenizer] is the text \"x\", expected an integer, 1 to 9 (blocks a stage)\n"
      "tokenizer:5:19: 'layers[2]' in [tokenizer] is the integer 10, expected an integer, 1 to 9 (blocks a stage)\n"
      "tokenizer:6:1: 'shuffle' in [tokenizer] is the integer 1, expected true or false (permute the rows)\n"
      "tokenizer:7:1: unknown key 'x' in [tokenizer] (known: plugin, width, items, dropout, shuffle, path, pooling, "
      "layers, fields)");
}

TEST(Section, RefusesWrongKinds) {
  EXPECT_EQ(
      read_error("width = 1.0"),
      "tokenizer:1:1: 'width' in [tokenizer] is the number 1.0, expected an integer, 1 to 8192 (embedding width)");
  EXPECT_EQ(
      read_error("dropout = nan"),
      "tokenizer:1:1: 'dropout' in [tokenizer] is the number nan, expected a number, 0 to 0.9 (drop probability)");
  EXPECT_EQ(read_error("path = ['a']"),
            "tokenizer:1:1: 'path' in [tokenizer] is the list [\"a\"], expected a text (file to read)");
  EXPECT_EQ(read_error("layers = 3"),
            "tokenizer:1:1: 'layers' in [tokenizer] is the integer 3, expected a list of integers (blocks a stage)");
  EXPECT_EQ(read_error("fields = [1]"),
            "tokenizer:1:11: 'fields[0]' in [tokenizer] is the integer 1, expected a text (text fields)");
  EXPECT_EQ(read_error("path = 2024-01-02"),
            "tokenizer:1:1: 'path' in [tokenizer] is the date 2024-01-02, expected a text (file to read)");
}

TEST(Section, TablesInsideAreAllowedByNameAlone) {
  const Section section = Section::parse("data", "width = 3\n[files]\ntext = 'a.npy'");
  EXPECT_EQ(section.read<Options>({"files"}).width, 3);
  EXPECT_EQ(error_of([&] { section.read<Options>({"fires"}); }),
            "data:2:2: unknown section [data.files]; did you mean 'fires'? (known: plugin, width, items, dropout, "
            "shuffle, path, pooling, layers, "
            "fields, fires)");
}

TEST(Section, TextAndWhere) {
  const Section section = Section::parse("model", "\n  plugin = 'flat'\nwidth = 3");
  EXPECT_EQ(section.plugin(), "flat");
  EXPECT_EQ(section.where("plugin"), "model:2:3");
  EXPECT_EQ(section.keys(), (std::vector<std::string>{"plugin", "width"}));
  EXPECT_EQ(error_of([&] { section.text("width"); }),
            "model:3:1: 'width' in [model] is the integer 3, expected a text");
  EXPECT_EQ(error_of([&] { section.fail("width", "not a multiple of heads"); }), "model:3:1: not a multiple of heads");
  EXPECT_EQ(error_of([] { Section::empty("head").plugin(); }), "[head]: [head] has no 'plugin'");
}

TEST_F(ConfigFiles, MergeKeepsThePlaceOfEachKey) {
  write("a.toml",
        "name = 'one'\n[model]\nplugin = 'x'\nwidth = 0\n[[featurizer]]\nwidth = 1\n[[featurizer]]\nwidth = 2\n");
  write("b.toml", "\n[model]\n dropout = 5\n[[featurizer]]\nwidth = 3\n");
  const Config config = Config::load({"a.toml", "b.toml"}, {"model.shuffle=3", "model.pooling=sum", "run.threads = 2"});
  EXPECT_EQ(config.section("model").where(), "a.toml:2:2");
  EXPECT_EQ(error_of([&] { config.section("model").read<Options>(); }),
            "a.toml:4:1: 'width' in [model] is the integer 0, expected an integer, 1 to 8192 (embedding width)\n"
            "b.toml:3:2: 'dropout' in [model] is the integer 5, expected a number, 0 to 0.9 (drop probability)\n"
            "--set model.shuffle=3: 'shuffle' in [model] is the integer 3, expected true or false (permute the rows)");
  EXPECT_EQ(config.section("model").text("pooling"), "sum");
  ASSERT_EQ(config.sections("featurizer").size(), 1u);  // a later file's list replaces
  EXPECT_EQ(config.sections("featurizer")[0].where("width"), "b.toml:5:1");
  EXPECT_EQ(config.top_level(), (std::vector<std::string>{"name", "model", "featurizer", "run"}));
}

TEST_F(ConfigFiles, Settings) {
  write("a.toml",
        "[data]\nplugin = 'x'\n[data.files]\ntext = 'a'\n[[featurizer]]\nwidth = 1\n[[featurizer]]\nwidth = 2\n");
  const Config config = Config::load({"a.toml"}, {"featurizer.1.width=7", "data.files.text=\"b\"", "data.path=/x/y z",
                                                  "data.layers=[1,2]", "data.items=3"});
  EXPECT_EQ(config.sections("featurizer")[1].read<Options>().width, 7);
  EXPECT_EQ(config.section("data.files").text("text"), "b");
  const auto options = config.section("data").read<Options>({"files"});
  EXPECT_EQ(options.path, "/x/y z");
  EXPECT_EQ(options.layers.size(), 2u);
  const auto setting_error = [](const std::string& setting) {
    return error_of([&] { Config::load({"a.toml"}, {setting}); });
  };
  EXPECT_EQ(setting_error("width"), "--set width: expected section.key=value");
  EXPECT_EQ(setting_error("a..b=1"), "--set a..b=1: expected section.key=value");
  EXPECT_EQ(setting_error("data.width=[1"), "--set data.width=[1: '[1' is no TOML value");
  EXPECT_EQ(setting_error("data.width="), "--set data.width=: '' is no TOML value");
  EXPECT_EQ(setting_error("data.plugin.x=1"),
            "--set data.plugin.x=1: 'data.plugin' is the text \"x\", expected a table");
  EXPECT_EQ(setting_error("featurizer.width=1"),
            "--set featurizer.width=1: 'featurizer' is a list of 2, expected an index from 0, as in featurizer.0.key");
}

TEST_F(ConfigFiles, IncludeIsOverriddenByTheFileItself) {
  write("base/base.toml", "[model]\nwidth = 8\ndropout = 0.5\n");
  write("own.toml", "include = 'base/base.toml'\n[model]\nwidth = 0\n");
  const Config config = Config::load({"own.toml"});
  EXPECT_EQ(config.where("model.width"), "own.toml:3:1");
  EXPECT_EQ(config.where("model.dropout"), "base/base.toml:3:1");
  EXPECT_EQ(config.top_level(), std::vector<std::string>{"model"});
}

TEST_F(ConfigFiles, IncludeProblems) {
  write("a.toml", "include = 'b.toml'\n");
  write("b.toml", "\ninclude = ['a.toml']\n");
  EXPECT_EQ(error_of([] { Config::load({"a.toml"}); }),
            "b.toml:2:1: include goes round in a circle: a.toml -> b.toml -> a.toml");
  write("c.toml", "include = 'none.toml'\n");
  EXPECT_EQ(error_of([] { Config::load({"c.toml"}); }),
            "c.toml:1:1: included file none.toml: cannot be read: No such file or directory");
  write("d.toml", "include = 3\n");
  EXPECT_EQ(error_of([] { Config::load({"d.toml"}); }),
            "d.toml:1:1: 'include' is the integer 3, expected a file name or a list of them");
  write("e.toml", "include = 'f.toml'\n");
  write("f.toml", "x = \n");
  EXPECT_TRUE(error_of([] { Config::load({"e.toml"}); }).starts_with("f.toml:1:5: not TOML: "));
}

TEST_F(ConfigFiles, UnreadableFilesAreToldTogether) {
  write("a.toml", "a = = 3\n");
  std::filesystem::create_directories("folder.toml");
  const std::string error = error_of([] { Config::load({"a.toml", "none.toml", "folder.toml"}, {"x"}); });
  EXPECT_TRUE(error.starts_with("a.toml:1:5: not TOML: ")) << error;
  EXPECT_TRUE(error.ends_with(
      "\nnone.toml: cannot be read: No such file or directory\nfolder.toml: is a folder, expected a TOML file"))
      << error;
}

TEST(Config, Sections) {
  const Config config = Config::parse(
      "t.toml", "x = 1\nplugins = ['a']\n[tokeniser]\n[data.files]\n[[head]]\n[[head]]\n[[model]]\nwidth = 2\n");
  EXPECT_EQ(
      error_of([&] { config.section("tokenizer"); }),
      "t.toml: section [tokenizer] is missing; did you mean 'tokeniser'? (present: tokeniser, data, head, model)");
  EXPECT_EQ(error_of([&] { config.section("x"); }), "t.toml:1:1: 'x' is the integer 1, expected a section [x]");
  EXPECT_EQ(error_of([&] { config.section("head"); }), "t.toml:6:1: [[head]] is given 2 times, expected one [head]");
  EXPECT_EQ(config.section("model").read<Options>().width, 2);
  EXPECT_TRUE(config.has("data.files"));
  EXPECT_FALSE(config.has("x"));
  EXPECT_EQ(config.section_or_empty("run").read<Options>().width, 64);
  EXPECT_EQ(config.section_or_empty("run").where(), "t.toml");
  EXPECT_EQ(config.sections("head").size(), 2u);
  EXPECT_EQ(config.sections("data").size(), 1u);
  EXPECT_TRUE(config.sections("none").empty());
  EXPECT_EQ(config.texts("plugins"), std::vector<std::string>{"a"});
  EXPECT_EQ(config.text("seed", "7"), "7");
  EXPECT_EQ(error_of([&] { config.text("x", ""); }), "t.toml:1:1: 'x' is the integer 1, expected a text");
  EXPECT_EQ(error_of([&] { config.texts("x"); }), "t.toml:1:1: 'x' is the integer 1, expected a list of texts");
}

TEST(Config, WritesWhatItReads) {
  const std::string text =
      "name = \"a \\\"b\\\" \\\\ \\n \\u0001 é\"\nx = 0.1\nwhole = 3.0\nbig = 1e+300\nday = 2024-01-02\nmixed = [1, "
      "\"two\", {a = true}]\n\"odd key\" = 1\n\n"
      "[model]\nplugin = \"flat\"\n\n[model.deep]\nk = 1\n\n[[featurizer]]\nplugin = \"a\"\n\n[[featurizer]]\nplugin = "
      "\"b\"\n";
  const std::string once = Config::parse("t", text).toml();
  EXPECT_EQ(once, text);
  EXPECT_EQ(Config().toml(), "");
}

TEST(Config, DefaultsAreWrittenAndMarked) {
  const Config config = Config::parse("t", "[model]\nplugin = 'x'\nwidth = 32\n[[featurizer]]\ndropout = 0.5\n");
  const std::string all = config.with_defaults("model", describe_options<Options>())
                              .with_defaults("featurizer.0", describe_options<Options>())
                              .with_defaults("run", {{"seed", "integer", "1", "any", "seed"}})
                              .toml();
  const std::string rest =
      "items = 0  # default\nDROPOUTshuffle = false  # default\npath = \"\"  # default\npooling = \"mean\"  # "
      "default\nlayers = [2, 3]  # "
      "default\nfields = [\"title\"]  # default\n";
  std::string of_model = rest, of_featurizer = rest;
  of_model.replace(of_model.find("DROPOUT"), 7, "dropout = 0.1  # default\n");
  of_featurizer.replace(of_featurizer.find("DROPOUT"), 7, "");
  EXPECT_EQ(all, "[model]\nplugin = \"x\"\nwidth = 32\n" + of_model +
                     "\n[[featurizer]]\ndropout = 0.5\nwidth = 64  # default\n" + of_featurizer +
                     "\n[run]\nseed = 1  # default\n");
  EXPECT_EQ(Config::parse("again", all).section("model").read<Options>().width, 32);
}

TEST(Options, HelpLines) {
  const auto lines = describe_options<Options>();
  ASSERT_EQ(lines.size(), 8u);
  const auto line = [&](int i) {
    return lines[i].key + "|" + lines[i].type + "|" + lines[i].default_value + "|" + lines[i].range + "|" +
           lines[i].help;
  };
  EXPECT_EQ(line(0), "width|integer|64|1 to 8192|embedding width");
  EXPECT_EQ(line(1), "items|integer|0|0 or more|items in all");
  EXPECT_EQ(line(2), "dropout|number|0.1|0 to 0.9|drop probability");
  EXPECT_EQ(line(3), "shuffle|boolean|false|true or false|permute the rows");
  EXPECT_EQ(line(4), "path|text|\"\"|any|file to read");
  EXPECT_EQ(line(5), "pooling|choice|\"mean\"|\"mean\", \"sum\"|how tokens are joined");
  EXPECT_EQ(line(6), "layers|integers|[2, 3]|1 to 9|blocks a stage");
  EXPECT_EQ(line(7), "fields|texts|[\"title\"]|any|text fields");
}

TEST(Suggestion, OnlyWhatIsNear) {
  EXPECT_EQ(suggestion("dorpout", {"width", "dropout"}), "; did you mean 'dropout'?");
  EXPECT_EQ(suggestion("k", {"d", "l"}), "");
  EXPECT_EQ(suggestion("learning_rate", {"lr", "width"}), "");
  EXPECT_EQ(suggestion("layer", {"layers"}), "; did you mean 'layers'?");
  EXPECT_EQ(suggestion("anything", {}), "");
}

}  // namespace tessera
