#include <gtest/gtest.h>

#include "framework/data/dataset.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

Dataset load(const std::string& options, bool skip_bad = false) {
  Rejects rejects(skip_bad);
  FitContext context;
  Dataset data = make_component<DataSource>(kPlugins, "plugin = 'amazon'\n" + options)->load(rejects, context);
  validate(data);
  return data;
}

std::string paths(const TemporaryFolder& folder) {
  return "path = '" + folder.path("reviews.json") + "'\nmetadata = '" + folder.path("meta.json") + "'\ncore = 1\n";
}

}  // namespace

TEST(Amazon, FieldsOf2014WithPythonLiterals) {
  const TemporaryFolder folder;
  folder.write("reviews.json",
               "{\"reviewerID\": \"A1\", \"asin\": \"B2\", \"overall\": 5.0, \"unixReviewTime\": 200}\n"
               "{\"reviewerID\": \"A1\", \"asin\": \"B1\", \"overall\": 3.0, \"unixReviewTime\": 100}\n");
  folder.write("meta.json",
               "{'asin': 'B1', 'title': \"Nail's polish\", 'price': 9.5, 'imUrl': 'u.jpg', 'brand': 'OPI', "
               "'categories': [['Beauty', 'Nails']], "
               "'related': None, 'description': 'A 9\" \\'brush\\' \\x41 \\n'}\n"
               "{\"asin\": \"unknown\", \"title\": \"x\"}\n");
  const Dataset data = load(paths(folder));
  EXPECT_EQ(data.name, "reviews");
  EXPECT_TRUE(data.interactions.label.empty());
  EXPECT_EQ(load(paths(folder) + "positive_above = 3.0\n").interactions.label, (std::vector<std::int8_t>{0, 1}));
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"B2", "B1"}));
  EXPECT_EQ(data.items.titles, (std::vector<std::string>{"", "Nail's polish"}));
  EXPECT_EQ(data.items.fields.at("categories")[1], "Beauty, Nails");
  EXPECT_EQ(data.items.fields.at("brand")[1], "OPI");
  EXPECT_EQ(data.items.fields.at("price")[1], "9.5");
  EXPECT_EQ(data.items.fields.at("image")[1], "u.jpg");
  EXPECT_EQ(data.items.fields.at("description")[1], "A 9\" 'brush' A \n");
  EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{1, 0}));
  EXPECT_EQ(data.interactions.time, (std::vector<std::int64_t>{100, 200}));
  EXPECT_EQ(data.interactions.rating, (std::vector<float>{3, 5}));
}

TEST(Amazon, FieldsOf2018And2023) {
  const TemporaryFolder folder;
  folder.write("reviews.json",
               "{\"user_id\": \"A1\", \"asin\": \"B0\", \"parent_asin\": \"B1\", \"rating\": 4.0, \"timestamp\": "
               "1588687728923}\n"
               "{\"reviewerID\": \"A1\", \"asin\": \"B2\", \"overall\": 1.0, \"unixReviewTime\": 1588687000}\n");
  folder.write("meta.json",
               "{\"parent_asin\": \"B1\", \"title\": \"T\", \"store\": \"S\", \"categories\": [\"a\", \"b\"], "
               "\"description\": [\"d\", \"e\"], "
               "\"features\": [\"f\"], \"price\": null, \"images\": [{\"thumb\": \"t.jpg\", \"large\": \"l.jpg\"}]}\n"
               "{\"asin\": \"B2\", \"category\": [\"c\"], \"imageURLHighRes\": [\"h.jpg\", \"i.jpg\"], \"feature\": "
               "[\"g\"], \"price\": \"$2\"}\n");
  const Dataset data = load(paths(folder));
  EXPECT_EQ(data.interactions.time, (std::vector<std::int64_t>{1588687000, 1588687729}));
  const auto& fields = data.items.fields;
  EXPECT_EQ(fields.at("brand")[0], "S");
  EXPECT_EQ(fields.at("description")[0], "d, e");
  EXPECT_EQ(fields.at("image"), (std::vector<std::string>{"l.jpg", "h.jpg"}));
  EXPECT_EQ(fields.at("categories"), (std::vector<std::string>{"a, b", "c"}));
  EXPECT_EQ(fields.at("features"), (std::vector<std::string>{"f", "g"}));
  EXPECT_EQ(fields.at("price"), (std::vector<std::string>{"", "$2"}));
}

TEST(Amazon, CoreDropsRareUsersAndItems) {
  const TemporaryFolder folder;
  std::string reviews;
  for (int user = 0; user < 5; ++user)
    for (int item = 0; item < 5; ++item)
      reviews += str("{\"reviewerID\": \"U", user, "\", \"asin\": \"I", item,
                     "\", \"overall\": 4, \"unixReviewTime\": ", item, "}\n");
  reviews += "{\"reviewerID\": \"rare\", \"asin\": \"I0\", \"overall\": 4, \"unixReviewTime\": 1}\n";
  const std::string path = "path = '" + folder.write("reviews.json", reviews) + "'\n";
  const Dataset data = load(path);
  EXPECT_EQ(data.users(), 5);
  EXPECT_EQ(data.item_count(), 5);
  EXPECT_EQ(data.interactions.size(), 25);
  EXPECT_EQ(load(path + "core = 1").users(), 6);
  EXPECT_NE(message_of([&] {
              load(path + "core = 7");
            }).find("of 26 reviews none is left when users and items with fewer than 7 are dropped"),
            std::string::npos);
}

TEST(Amazon, BadRecordsAreNamedOrSkipped) {
  const TemporaryFolder folder;
  folder.write("reviews.json",
               "{\"reviewerID\": \"A\", \"asin\": \"B\", \"overall\": 4, \"unixReviewTime\": 1}\n"
               "{\"asin\": \"B\", \"overall\": 4, \"unixReviewTime\": 1}\n"
               "{\"reviewerID\": \"A\", \"overall\": 4, \"unixReviewTime\": 1}\n"
               "{\"reviewerID\": \"A\", \"asin\": \"B\", \"unixReviewTime\": 1}\n"
               "{\"reviewerID\": \"A\", \"asin\": \"B\", \"overall\": \"nan\", \"unixReviewTime\": 1}\n"
               "{\"reviewerID\": \"A\", \"asin\": \"B\", \"overall\": 4}\n"
               "{\"reviewerID\": \"A\", \"asin\": \"B\", \"over");
  folder.write("meta.json", "{\"asin\": \"B\"}\n{\"asin\": \"B\"}\n{\"title\": \"\"}\n{'asin': 'cut\n");
  const std::string text = message_of([&] { load(paths(folder)); });
  for (const auto& part :
       {"6 bad records", "reviews.json:2: has no 'reviewerID' (2014, 2018) or 'user_id' (2023)",
        "reviews.json:3: has no 'asin' or 'parent_asin'",
        "reviews.json:4: 'overall' or 'rating' is missing or no number; expected 1 .. 5",
        "reviews.json:5: 'overall' or 'rating' is missing",
        "reviews.json:6: 'unixReviewTime' or 'timestamp' is missing or no number", "reviews.json:7: is no JSON: "})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  EXPECT_EQ(load(paths(folder), true).interactions.size(), 1);
  folder.write("reviews.json", "{\"reviewerID\": \"A\", \"asin\": \"B\", \"overall\": 4, \"unixReviewTime\": 1}\n");
  const std::string metadata = message_of([&] { load(paths(folder)); });
  for (const auto& part : {"3 bad records", "meta.json:2: the item 'B' is on a line before it too",
                           "meta.json:3: has no 'asin' or 'parent_asin'", "meta.json:4: is no JSON: "})
    EXPECT_NE(metadata.find(part), std::string::npos) << part << "\n" << metadata;
  std::filesystem::remove(folder.path("meta.json"));
  EXPECT_NE(message_of([&] { load(paths(folder)); }).find("meta.json: cannot be opened: No such file or directory"),
            std::string::npos);
}

}  // namespace tessera
