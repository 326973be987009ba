#include <gtest/gtest.h>

#include <numeric>

#include "framework/data/dataset.h"
#include "framework/data/split.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

std::shared_ptr<DataSource> source(const std::string& options) {
  return make_component<DataSource>(kPlugins, "plugin = 'movielens'\n" + options);
}

Dataset load(const std::string& options) {
  Rejects rejects;
  FitContext context;
  Dataset data = source(options)->load(rejects, context);
  validate(data);
  return data;
}

}  // namespace

TEST(MovieLens, TheThreeFormsSayTheSame) {
  const TemporaryFolder a, b, c;
  a.write("u.data", "7\t10\t4\t300\n7\t2\t3\t100\n9\t2\t5\t50\n");
  b.write("ratings.dat", "7::10::4::300\n7::2::3::100\n9::2::5::50\n");
  c.write("ratings.csv", "userId,movieId,rating,timestamp\n7,10,4.0,300\n7,2,3.0,100\n9,2,5.0,50\n");
  for (const auto* folder : {&a, &b, &c}) {
    const Dataset data = load("path = '" + folder->path() + "'\npositive_above = 3.0");
    EXPECT_EQ(data.user_ids, (std::vector<std::string>{"7", "9"}));
    EXPECT_EQ(data.items.ids, (std::vector<std::string>{"2", "10"}));
    EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{0, 1, 0}));
    EXPECT_EQ(data.interactions.time, (std::vector<std::int64_t>{100, 300, 50}));
    EXPECT_EQ(data.interactions.rating, (std::vector<float>{3, 4, 5}));
    EXPECT_EQ(data.interactions.label, (std::vector<std::int8_t>{0, 1, 1}));
  }
  EXPECT_TRUE(load("path = '" + a.path() + "'").interactions.label.empty());
  EXPECT_EQ(load("path = '" + b.path("ratings.dat") + "'").interactions.size(), 3);
}

TEST(MovieLens, ItemsOfTheFolderAreTheCatalogue) {
  const TemporaryFolder folder;
  folder.write("u.data", "1\t5\t4\t1\n");
  folder.write("items.jsonl",
               "{\"id\": 9, \"title\": \"A\"}\n{\"id\": 5, \"title\": \"B\", \"genres\": [\"x\", \"y\"]}\n");
  const Dataset data = load("path = '" + folder.path() + "'");
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"9", "5"}));
  EXPECT_EQ(data.items.fields.at("genres")[1], "x, y");
  EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{1}));
}

TEST(MovieLens, BadLinesAreNamedOrSkipped) {
  const TemporaryFolder folder;
  const std::string items = folder.write("i.jsonl", "{\"id\": 1}\n");
  const std::string path =
      folder.write("u.data", "1\t1\t4\n1\t1\tx\t5\n1\t1\t4\tnan\n\t1\t4\t5\n1\t2\t4\t5\n1\t1\t4\t5\n");
  const std::string options = "path = '" + path + "'\nitems = '" + items + "'";
  const std::string text = message_of([&] { load(options); });
  for (const std::string& part :
       {path + ":1: has 3 fields, expected user, item, rating and time between tabs",
        path + ":2: the rating is 'x', expected a finite number", path + ":3: the time is 'nan', expected seconds",
        path + ":4: has an empty user", path + ":5: the item '2' is not in " + items, std::string("--skip-bad")})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  Rejects rejects(true);
  FitContext context;
  EXPECT_EQ(source(options)->load(rejects, context).interactions.size(), 1);
  EXPECT_EQ(rejects.count(), 5);
  EXPECT_NE(message_of([&] { load("path = '" + folder.path("") + "'"); }).find("u.data:1: has 3 fields"),
            std::string::npos);
  const TemporaryFolder empty;
  EXPECT_NE(message_of([&] { load("path = '" + empty.path() + "'"); }).find("holds none of u.data, ratings.dat"),
            std::string::npos);
  EXPECT_NE(message_of([] { load(""); }).find("path is missing"), std::string::npos);
}

// One global cut 90/10, the last 5 % of the training part for validation.
TEST(MovieLens, HundredThousandRatingsCutByTime) {
  const auto folder = shared_data(TESSERA_SOURCE_DIR, "ml100k_mm");
  if (!folder) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  Dataset data = load("path = '" + *folder + "'\npositive_above = 3.0");
  EXPECT_EQ(data.users(), 943);
  EXPECT_EQ(data.item_count(), 1682);
  ASSERT_EQ(data.interactions.size(), 100000);
  EXPECT_EQ(std::accumulate(data.interactions.label.begin(), data.interactions.label.end(), 0), 55375);
  split(data, {.method = "time", .valid = 0.045, .test = 0.1}, 1);
  std::int64_t count[4] = {}, first[4] = {1LL << 60, 1LL << 60, 1LL << 60, 0}, last[4] = {};
  for (std::size_t i = 0; i < data.interactions.item.size(); ++i) {
    const auto part = static_cast<std::size_t>(data.interactions.part[i]);
    ++count[part];
    first[part] = std::min(first[part], data.interactions.time[i]);
    last[part] = std::max(last[part], data.interactions.time[i]);
  }
  EXPECT_EQ(count[0], 85500);
  EXPECT_EQ(count[1], 4500);
  EXPECT_EQ(count[2], 10000);
  EXPECT_LE(last[0], first[1]);
  EXPECT_LE(last[1], first[2]);
}

}  // namespace tessera
