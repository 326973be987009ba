#include <gtest/gtest.h>

#include "framework/data/dataset.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

std::shared_ptr<DataSource> source(const std::string& options) {
  return make_component<DataSource>(kPlugins, "plugin = 'sequences'\n" + options);
}

Dataset load(const std::string& options, Rejects rejects = Rejects()) {
  FitContext context;
  Dataset data = source(options)->load(rejects, context);
  validate(data);
  return data;
}

}  // namespace

TEST(Sequences, NumbersAreSortedAsNumbers) {
  const TemporaryFolder folder;
  const Dataset data = load("path = '" + folder.write("toys.txt", "7 10 2 10\nanna 9 2\n") + "'");
  EXPECT_EQ(data.name, "toys");
  EXPECT_EQ(data.user_ids, (std::vector<std::string>{"7", "anna"}));
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"2", "9", "10"}));
  EXPECT_EQ(data.interactions.offset, (std::vector<std::int64_t>{0, 3, 5}));
  EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{2, 0, 2, 1, 0}));
  EXPECT_TRUE(data.interactions.part.empty());
  EXPECT_FALSE(data.split_given);
}

TEST(Sequences, OtherIdsKeepTheirOrder) {
  const TemporaryFolder folder;
  const Dataset data = load("path = '" + folder.write("a.txt", "u z 1\nv a z\n") + "'");
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"z", "1", "a"}));
}

TEST(Sequences, ItemsFileGivesOrderTitlesAndFields) {
  const TemporaryFolder folder;
  const std::string items = folder.write("items.jsonl",
                                         "{\"id\": 3, \"title\": \"Lamp\", \"categories\": [[\"Home\", \"Light\"]]}\n"
                                         "{\"id\": \"x\", \"name\": \"Rug\", \"brand\": \"B\"}\n{\"id\": 1}\n");
  const Dataset data = load("path = '" + folder.write("sequences.txt", "u 1 3\n") + "'\nitems = '" + items + "'");
  EXPECT_EQ(data.name, std::filesystem::path(folder.path()).filename().string());
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"3", "x", "1"}));
  EXPECT_EQ(data.items.titles, (std::vector<std::string>{"Lamp", "Rug", ""}));
  EXPECT_EQ(data.items.fields.at("categories"), (std::vector<std::string>{"Home, Light", "", ""}));
  EXPECT_EQ(data.items.fields.at("brand"), (std::vector<std::string>{"", "B", ""}));
  EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{2, 0}));
}

TEST(Sequences, GivenSplitComesInFiles) {
  const TemporaryFolder folder;
  const Dataset data = load("path = '" + folder.write("train.txt", "0 1 2\n1 3\n") + "'\ntest = '" +
                            folder.write("test.txt", "0 3\n1\n") + "'");
  EXPECT_TRUE(data.split_given);
  EXPECT_EQ(data.interactions.offset, (std::vector<std::int64_t>{0, 3, 4}));
  EXPECT_EQ(data.interactions.part, (std::vector<Part>{Part::train, Part::train, Part::test, Part::train}));
}

TEST(Sequences, BadLinesAreNamedOrSkipped) {
  const TemporaryFolder folder;
  const std::string items =
      folder.write("items.jsonl", "{\"id\": 1}\n{\"id\": 1}\n{\"title\": \"?\"}\n{\"id\": 2\n{\"id\": 3}\n");
  const std::string path = folder.write("s.txt", "a 1 3\nb\n\na 3\nc 1 2\n");
  const std::string options = "path = '" + path + "'\nitems = '" + items + "'";
  const std::string text = message_of([&] { load(options); });
  EXPECT_NE(text.find("3 bad records\n  " + items + ":2: the id '1' is taken by an item before it\n  " + items +
                      ":3: has no \"id\"\n  " + items + ":4: is no JSON: "),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("--skip-bad"), std::string::npos);

  Rejects rejects(true);
  FitContext context;
  const Dataset data = source(options)->load(rejects, context);
  EXPECT_EQ(rejects.count(), 6);
  EXPECT_EQ(rejects.first()[3], path + ":2: the user 'b' has no items");
  EXPECT_EQ(rejects.first()[4], path + ":4: the user 'a' is on a line before it too; expected one line for each user");
  EXPECT_EQ(rejects.first()[5], path + ":5: the item '2' is not in " + items);
  EXPECT_EQ(data.users(), 1);
  EXPECT_EQ(data.interactions.size(), 2);
}

TEST(Sequences, MissingAndEmptyFiles) {
  const TemporaryFolder folder;
  EXPECT_NE(message_of([&] {
              load("path = '" + folder.path("none.txt") + "'");
            }).find(folder.path("none.txt") + ": cannot be opened: No such file or directory"),
            std::string::npos);
  EXPECT_NE(message_of([&] { load("path = '" + folder.write("empty.txt", "\n") + "'"); }).find("holds no interactions"),
            std::string::npos);
  EXPECT_NE(message_of([] { load(""); }).find("path is missing; expected a file of sequences"), std::string::npos);
}

TEST(Sequences, Beauty) {
  const auto beauty = shared_data(TESSERA_SOURCE_DIR, "beauty");
  if (!beauty) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  const Dataset data = load("path = '" + *beauty + "/sequences.txt'\nitems = '" + *beauty + "/items.jsonl'");
  EXPECT_EQ(data.name, "beauty");
  EXPECT_EQ(data.users(), 22363);
  EXPECT_EQ(data.item_count(), 12101);
  EXPECT_EQ(data.interactions.size(), 198502);
  EXPECT_EQ(data.items.ids[100], "101");
  EXPECT_EQ(data.items.fields.at("categories")[0], "Beauty, Makeup, Nails, Nail Polish");
}

TEST(Sequences, GowallaComesSplit) {
  const auto gowalla = shared_data(TESSERA_SOURCE_DIR, "gowalla");
  if (!gowalla) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  const Dataset data = load("path = '" + *gowalla + "/train.txt'\ntest = '" + *gowalla + "/test.txt'");
  EXPECT_EQ(data.users(), 29858);
  EXPECT_EQ(data.item_count(), 40981);
  EXPECT_EQ(data.interactions.size(), 1027370);
  EXPECT_EQ(data.items.ids[40980], "40980");
}

}  // namespace tessera
