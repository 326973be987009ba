#include <gtest/gtest.h>

#include "framework/data/dataset.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

Dataset load(const std::string& options, bool skip_bad = false, Rejects* kept = nullptr) {
  Rejects rejects(skip_bad);
  FitContext context;
  Dataset data = make_component<DataSource>(kPlugins, "plugin = 'recbole'\n" + options)->load(rejects, context);
  validate(data);
  if (kept != nullptr) *kept = rejects;
  return data;
}

std::string at(const TemporaryFolder& folder) { return "path = '" + folder.path() + "'\n"; }

}  // namespace

TEST(RecBole, ReadsAtomicFiles) {
  const TemporaryFolder folder;
  folder.write("toy.inter",
               "user_id:token\titem_id:token\trating:float\ttimestamp:float\tlabel:float\n"
               "u1\tb\t4\t200\t1\nu2\ta\t3.5\t50.4\t0\nu1\ta\t2\t100\t0\n");
  folder.write("toy.item",
               "item_id:token\ttitle:token_seq\tprice:float\tgenre:token_seq\n"
               "a\tAn apple\t1.5\tfruit food\nb\tA book\t9\tpaper\nc\tA cup\t2\t\n");
  const Dataset data = load(at(folder));
  EXPECT_EQ(data.name, "toy");
  EXPECT_EQ(data.user_ids, (std::vector<std::string>{"u1", "u2"}));
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(data.items.titles[1], "A book");
  EXPECT_EQ(data.items.fields.at("genre"), (std::vector<std::string>{"fruit food", "paper", ""}));
  EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{0, 1, 0}));
  EXPECT_EQ(data.interactions.time, (std::vector<std::int64_t>{100, 200, 50}));
  EXPECT_EQ(data.interactions.rating, (std::vector<float>{2, 4, 3.5}));
  EXPECT_EQ(data.interactions.label, (std::vector<std::int8_t>{0, 1, 0}));
  EXPECT_FALSE(data.split_given);
}

TEST(RecBole, LabelsAreMadeOfRatings) {
  const TemporaryFolder folder;
  folder.write("toy.inter", "user_id:token\titem_id:token\trating:float\tlabel:float\nu\ta\t4\t7\nu\tb\t3\t7\n");
  const std::string rule = "\npositive_above = 3.0";
  EXPECT_EQ(load(at(folder) + rule + "\nlabel = \"\"").interactions.label, (std::vector<std::int8_t>{1, 0}));
  EXPECT_NE(message_of([&] { load(at(folder) + rule); }).find("has labels of its own, and positive_above = 3"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              load(at(folder) + rule + "\nrating = \"none\"\nlabel = \"\"");
            }).find("has no ratings, but positive_above = 3 makes labels of them"),
            std::string::npos);
}

TEST(RecBole, GivenSplitInFilesOrInAColumn) {
  const TemporaryFolder files, column;
  files.write("s.train.inter", "user_id:token\titem_id:token\n1\t10\n1\t9\n");
  files.write("s.test.inter", "user_id:token\titem_id:token\n1\t2\n");
  const Dataset three = load(at(files));
  EXPECT_TRUE(three.split_given);
  EXPECT_EQ(three.items.ids, (std::vector<std::string>{"2", "9", "10"}));
  EXPECT_EQ(three.interactions.part, (std::vector<Part>{Part::train, Part::train, Part::test}));
  column.write("c.inter", "user_id:token\titem_id:token\tx_label:float\n1\t10\t1\n1\t9\t2\n");
  EXPECT_EQ(load(at(column)).interactions.part, (std::vector<Part>{Part::valid, Part::test}));
}

TEST(RecBole, BadRecordsAreNamedOrSkipped) {
  const TemporaryFolder folder;
  folder.write("a.inter",
               "user_id:token\titem_id:token\ttimestamp:float\n"
               "u\ta\t1\nu\ta\nu\tz\t1\nu\ta\tnan\n\ta\t1\nu\ta\tinf\n");
  folder.write("a.item", "item_id:token\na\n");
  const std::string file = folder.path("a.inter"), text = message_of([&] { load(at(folder)); });
  for (const auto& part :
       {":3: has 2 fields, expected 3, separated by tabs", ":4: the item 'z' is not in the .item file",
        ":5: timestamp is 'nan', expected a finite number", ":6: has an empty user", "5 bad records"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  Rejects rejects;
  EXPECT_EQ(load(at(folder), true, &rejects).interactions.size(), 1);
  EXPECT_EQ(rejects.count(), 5);
  folder.write("a.item", "item_id:token\na\na\n");
  EXPECT_NE(message_of([&] { load(at(folder)); }).find("a.item:3: the item 'a' is on a line before it too"),
            std::string::npos);
}

TEST(RecBole, SaysWhichFileOrColumnIsMissing) {
  const TemporaryFolder folder;
  EXPECT_NE(message_of([&] { load(at(folder)); }).find(folder.path() + ": has no .inter file"), std::string::npos);
  folder.write("a.inter", "user:token\titem_id:token\n");
  EXPECT_NE(
      message_of([&] { load(at(folder)); }).find("a.inter:1: has no column 'user_id'; its columns are user, item_id"),
      std::string::npos);
  EXPECT_NE(message_of([&] { load(at(folder) + "user = 'user'"); }).find("holds no interactions"), std::string::npos);
  folder.write("b.inter", "");
  EXPECT_NE(message_of([&] { load(at(folder)); }).find("has several .inter files (a, b); give the `name` of one"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              load(at(folder) + "name = 'b'");
            }).find("b.inter:1: is empty, expected a header of column names"),
            std::string::npos);
  EXPECT_NE(message_of([] { load("path = '/none'"); }).find("/none: is no folder"), std::string::npos);
}

}  // namespace tessera
