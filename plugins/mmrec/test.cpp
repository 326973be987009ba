#include <gtest/gtest.h>

#include "framework/data/dataset.h"
#include "framework/data/npy.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

Dataset load(const std::string& path, Rejects rejects = Rejects()) {
  FitContext context;
  Dataset data =
      make_component<DataSource>(kPlugins, "plugin = 'mmrec'\npath = '" + path + "'")->load(rejects, context);
  validate(data);
  return data;
}

}  // namespace

TEST(MmRec, ReadsInterWithItsSplitAndFeatures) {
  const TemporaryFolder folder;
  folder.write("baby.inter",
               "userID\titemID\trating\ttimestamp\tx_label\n0\t2\t5.0\t300\t2\n0\t1\t4.0\t100\t0\n7\t0\t1.0\t50\t1\n");
  write_npy(folder.path("image_feat.npy"), Tensor::zeros({4, 3}));
  write_npy(folder.path("text_feat.npy"), Tensor::zeros({4, 2}));
  write_npy(folder.path("audio.npy"), Tensor::zeros({4, 2}));
  const Dataset data = load(folder.path());
  EXPECT_TRUE(data.split_given);
  EXPECT_EQ(data.items.ids, (std::vector<std::string>{"0", "1", "2", "3"}));  // item 3 has features alone
  EXPECT_EQ(data.user_ids, (std::vector<std::string>{"0", "7"}));
  EXPECT_EQ(data.interactions.item, (std::vector<std::int32_t>{1, 2, 0}));
  EXPECT_EQ(data.interactions.part, (std::vector<Part>{Part::train, Part::test, Part::valid}));
  EXPECT_EQ(data.interactions.rating, (std::vector<float>{4, 5, 1}));
  EXPECT_EQ(data.files.at("image"), folder.path("image_feat.npy"));
  EXPECT_EQ(data.files.at("text"), folder.path("text_feat.npy"));
  EXPECT_EQ(data.files.at("audio"), folder.path("audio.npy"));
}

TEST(MmRec, ReadsThreeFilesWithoutHeaders) {
  const TemporaryFolder folder;
  folder.write("train.tsv", "3\t1\n3\t0\n");
  folder.write("valid.tsv", "3\t2\n");
  folder.write("test.tsv", "3\t4\n");
  const Dataset data = load(folder.path());
  EXPECT_EQ(data.item_count(), 5);
  EXPECT_EQ(data.interactions.part, (std::vector<Part>{Part::train, Part::train, Part::valid, Part::test}));
}

TEST(MmRec, BadRecordsAreNamed) {
  const TemporaryFolder folder;
  write_npy(folder.path("image_feat.npy"), Tensor::zeros({2, 3}));
  folder.write("a.inter", "userID\titemID\tx_label\n0\t1\t0\n0\t2\t0\n0\tx\t0\n0\t1\t3\n0\t-1\t0\n");
  const std::string text = message_of([&] { load(folder.path()); });
  for (const auto& part : {"4 bad records", "a.inter:3: the item 2 has no row in ", "(2 rows)",
                           "a.inter:4: the item is 'x', expected a whole number from 0",
                           "a.inter:5: x_label is '3', expected 0 (train), 1 (valid) or 2 (test)"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  EXPECT_EQ(load(folder.path(), Rejects(true)).interactions.size(), 1);
}

TEST(MmRec, FilesThatDoNotFit) {
  const TemporaryFolder folder;
  EXPECT_NE(message_of([&] { load(folder.path()); }).find("has 0 files like *.inter or inter.tsv and no train.tsv"),
            std::string::npos);
  folder.write("a.inter", "userID\titemID\n0\t1\n");
  EXPECT_NE(message_of([&] {
              load(folder.path());
            }).find("a.inter:1: has no column 'x_label'; its columns are userID, itemID"),
            std::string::npos);
  write_npy(folder.path("image_feat.npy"), Tensor::zeros({2, 3}));
  write_npy(folder.path("text_feat.npy"), Tensor::zeros({3, 3}));
  EXPECT_NE(message_of([&] {
              load(folder.path());
            }).find("text_feat.npy: has 3 rows, but " + folder.path("image_feat.npy") + " has 2"),
            std::string::npos);
  std::filesystem::resize_file(folder.path("image_feat.npy"), 130);
  EXPECT_NE(
      message_of([&] { load(folder.path()); }).find("image_feat.npy: holds 2 bytes of numbers, but its shape (2, 3)"),
      std::string::npos);
  EXPECT_NE(message_of([] { load("/none"); }).find("/none: is no folder"), std::string::npos);
}

TEST(MmRec, PublicSets) {
  const auto tiktok = shared_data(TESSERA_SOURCE_DIR, "tiktok"), lfm2k = shared_data(TESSERA_SOURCE_DIR, "lfm2k");
  if (!tiktok || !lfm2k) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  const Dataset videos = load(*tiktok);
  EXPECT_EQ(videos.users(), 9308);
  EXPECT_EQ(videos.item_count(), 6710);
  EXPECT_EQ(videos.interactions.size(), 68722);
  EXPECT_TRUE(videos.files.contains("visual128_f16"));
  const Dataset artists = load(*lfm2k);
  EXPECT_EQ(artists.users(), 1858);
  EXPECT_EQ(artists.item_count(), 1425);
  EXPECT_EQ(artists.interactions.size(), 56345);
  EXPECT_EQ(artists.items.titles[0], "Groove Armada");
}

}  // namespace tessera
