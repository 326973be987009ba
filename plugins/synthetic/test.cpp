#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>

#include "framework/data/batches.h"
#include "framework/data/dataset.h"
#include "framework/data/npy.h"
#include "framework/data/split.h"
#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

Dataset load(const std::string& options) {
  Rejects rejects;
  FitContext context;
  Dataset data = make_component<DataSource>(kPlugins, "plugin = 'synthetic'\n" + options)->load(rejects, context);
  validate(data);
  return data;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

double recall_of_popularity(Dataset& data) {
  split(data, {}, 1);
  const auto counts = train_counts(data);
  std::vector<std::int32_t> order(counts.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return counts[a] > counts[b]; });
  const Questions asked = questions(data, Part::test);
  double found = 0;
  for (const std::int32_t target : asked.target)
    found += std::find(order.begin(), order.begin() + 10, target) < order.begin() + 10;
  return found / static_cast<double>(asked.target.size());
}

// Ranks by how often an item followed the last one in training, as a floor of what a sequence model learns.
double recall_of_transitions(const Dataset& data) {
  std::map<std::int32_t, std::map<std::int32_t, std::int64_t>> follows;
  const Interactions& rows = data.interactions;
  for (std::int64_t user = 0; user < rows.users(); ++user)
    for (std::int64_t i = rows.begin(user) + 1; i + 2 < rows.end(user); ++i) ++follows[rows.item[i - 1]][rows.item[i]];
  const Questions asked = questions(data, Part::test);
  double found = 0;
  for (std::int64_t r = 0; r < asked.histories.rows(); ++r) {
    const auto& next = follows[asked.histories.item[static_cast<std::size_t>(asked.histories.offset[r + 1] - 1)]];
    std::vector<std::pair<std::int64_t, std::int32_t>> order;
    for (const auto& [item, count] : next) order.emplace_back(-count, item);
    std::sort(order.begin(), order.end());
    for (std::size_t k = 0; k < std::min<std::size_t>(10, order.size()); ++k)
      found += order[k].second == asked.target[r];
  }
  return found / static_cast<double>(asked.target.size());
}

}  // namespace

TEST(Synthetic, DefaultWorldIsLearnable) {
  Dataset data = load("");
  EXPECT_EQ(data.users(), 2000);
  EXPECT_EQ(data.item_count(), 600);
  const double popularity = recall_of_popularity(data), transitions = recall_of_transitions(data);
  ASSERT_TRUE(data.oracle_recall_at_10.has_value());
  EXPECT_LT(popularity, 0.10);
  EXPECT_GT(transitions, 2.5 * popularity);
  EXPECT_GT(*data.oracle_recall_at_10, 1.3 * transitions);
  EXPECT_LT(*data.oracle_recall_at_10, 0.8);
}

TEST(Synthetic, UsersMeetNoItemTwiceAndNoColdItem) {
  const Dataset data = load("users = 300\nitems = 200\ncold = 0.2\nmissing = 0.3");
  std::set<std::int32_t> met(data.interactions.item.begin(), data.interactions.item.end());
  EXPECT_LE(met.size(), 160u);
  EXPECT_GT(met.size(), 120u);
  for (std::int64_t user = 0; user < data.users(); ++user) {
    const auto begin = data.interactions.item.begin() + data.interactions.begin(user);
    const auto end = data.interactions.item.begin() + data.interactions.end(user);
    EXPECT_EQ(std::set<std::int32_t>(begin, end).size(), static_cast<std::size_t>(end - begin));
    EXPECT_GE(end - begin, 10);
    EXPECT_LE(end - begin, 40);
  }
  const auto untitled = std::count(data.items.titles.begin(), data.items.titles.end(), "");
  EXPECT_GT(untitled, 30);
  EXPECT_LT(untitled, 90);
  for (const float rating : data.interactions.rating) EXPECT_TRUE(rating >= 1 && rating <= 5);
}

TEST(Synthetic, IsAFunctionOfItsSeedForAnyThreads) {
  const std::string options = "users = 1000\nitems = 300\n";
  const std::string first = fingerprint(load(options));
  set_threads(3);
  EXPECT_EQ(fingerprint(load(options)), first);
  set_threads(1);
  EXPECT_NE(fingerprint(load(options + "seed = 2")), first);
  // Users do not depend on how many there are.
  const Dataset fewer = load("users = 300\nitems = 300"), more = load(options);
  EXPECT_TRUE(
      std::equal(fewer.interactions.item.begin(), fewer.interactions.item.end(), more.interactions.item.begin()));
}

TEST(Synthetic, VectorsHaveKnownCauses) {
  const TemporaryFolder folder;
  const std::string options = "users = 5\nitems = 300\ncategories = 6\nkinds = 3\nmax_length = 20\n";
  const Dataset plain = load(options), data = load(options + "vectors = '" + folder.path() + "'");
  EXPECT_EQ(plain.interactions.item, data.interactions.item);
  EXPECT_EQ(plain.items.titles, data.items.titles);
  EXPECT_TRUE(plain.files.empty());
  const auto factor = [&](const char* field, std::size_t item) { return data.items.fields.at(field)[item]; };
  int different = 0;
  for (std::size_t i = 0; i < 300; ++i) different += factor("kind_text", i) != factor("kind_image", i);
  EXPECT_NEAR(different, 200, 40);  // drawn apart
  for (const std::string modality : {"text", "image"}) {
    const Tensor x = read_npy(data.files.at(modality));
    ASSERT_EQ(x.shape(), Shape({300, 48}));
    const auto distance = [&](std::size_t a, std::size_t b) {
      double sum = 0.0;
      for (std::size_t j = 0; j < 48; ++j)
        sum += std::pow(x.data<float>()[a * 48 + j] - x.data<float>()[b * 48 + j], 2);
      return sum / 48.0;
    };
    const auto absent = [&](std::size_t i) { return x.data<float>()[i * 48] == 0.0f; };
    double same = 0.0, other = 0.0;
    int same_pairs = 0, other_pairs = 0, lacking = 0;
    for (std::size_t a = 0; a < 300; ++a) {
      lacking += absent(a);
      for (std::size_t b = a + 1; b < 300; ++b) {
        if (absent(a) || absent(b)) continue;
        const bool alike = factor("category_number", a) == factor("category_number", b) &&
                           factor(("kind_" + modality).c_str(), a) == factor(("kind_" + modality).c_str(), b);
        (alike ? same : other) += distance(a, b);
        ++(alike ? same_pairs : other_pairs);
      }
    }
    EXPECT_NEAR(same / same_pairs, 0.5, 0.1);  // noise alone: twice its variance
    EXPECT_GT(other / other_pairs, 1.5);
    EXPECT_GT(lacking, 3);
    EXPECT_LT(lacking, 35);
  }
}

TEST(Synthetic, TextCarriesTheCategory) {
  const Dataset data = load("users = 200\nmissing = 0.0");
  const auto words = [&](std::size_t item) {
    std::istringstream in(data.items.fields.at("description")[item]);
    return std::set<std::string>(std::istream_iterator<std::string>(in), {});
  };
  double same = 0, other = 0;
  std::int64_t same_pairs = 0, other_pairs = 0;
  for (std::size_t a = 0; a < 200; ++a)
    for (std::size_t b = a + 1; b < 200; ++b) {
      const auto left = words(a), right = words(b);
      std::vector<std::string> common;
      std::set_intersection(left.begin(), left.end(), right.begin(), right.end(), std::back_inserter(common));
      const bool alike = data.items.fields.at("category")[a] == data.items.fields.at("category")[b];
      (alike ? same : other) += static_cast<double>(common.size());
      ++(alike ? same_pairs : other_pairs);
    }
  EXPECT_GT(same / static_cast<double>(same_pairs), 2.0 * other / static_cast<double>(other_pairs));
}

TEST(Synthetic, WritesImagesWhereAsked) {
  const TemporaryFolder folder;
  const Dataset data =
      load("users = 10\nitems = 100\nmissing = 0.1\nimage_size = 16\nimages = '" + folder.path("png") + "'");
  std::int64_t images = 0;
  for (const std::string& path : data.items.fields.at("image")) {
    if (path.empty()) continue;
    ++images;
    const std::string bytes = text_of(path);
    EXPECT_EQ(bytes.substr(1, 3), "PNG");
    EXPECT_EQ(bytes[19], 16);  // width, low byte
  }
  EXPECT_GT(images, 75);
  EXPECT_LT(images, 100);
}

TEST(Synthetic, StreamsSequencesFiles) {
  const TemporaryFolder folder;
  const std::string options = "users = 1500\nitems = 120\ncategories = 10\n";
  const Dataset whole = load(options);
  const Dataset kept =
      load(options + "image_size = 8\nwrite = '" + folder.path("out") + "'\nimages = '" + folder.path("png") + "'");
  EXPECT_EQ(kept.users(), 1000);
  Rejects rejects;
  FitContext context;
  const Dataset read =
      make_component<DataSource>(kPlugins, "plugin = 'sequences'\npath = '" + folder.path("out/sequences.txt") +
                                               "'\nitems = '" + folder.path("out/items.jsonl") + "'")
          ->load(rejects, context);
  EXPECT_EQ(read.user_ids, whole.user_ids);
  EXPECT_EQ(read.items.ids, whole.items.ids);
  EXPECT_EQ(read.items.titles, whole.items.titles);
  EXPECT_EQ(read.items.fields.at("description"), whole.items.fields.at("description"));
  EXPECT_EQ(read.interactions.item, whole.interactions.item);
  EXPECT_EQ(read.items.fields.at("image"), kept.items.fields.at("image"));
}

TEST(Synthetic, SaysWhatCannotBe) {
  EXPECT_NE(message_of([] {
              load("items = 60");
            }).find("items is 60, of which 58 are not cold; users meet no item twice, so expected 80 or more"),
            std::string::npos);
  EXPECT_NE(message_of([] { load("min_length = 50"); }).find("max_length is 40, below min_length, 50"),
            std::string::npos);
  EXPECT_NE(message_of([] { load("categories = 601"); }).find("categories is 601, more than the 600 items"),
            std::string::npos);
  EXPECT_NE(message_of([] {
              load("users = 10\nimages = '/proc/none/here'");
            }).find("the folder /proc/none/here cannot be made"),
            std::string::npos);
}

TEST(Synthetic, LabelsFollowRatingsAndChangeNothingElse) {
  const Dataset plain = load("users = 50"), labelled = load("users = 50\npositive_above = 3.0");
  EXPECT_TRUE(plain.interactions.label.empty());
  EXPECT_EQ(plain.interactions.item, labelled.interactions.item);
  EXPECT_EQ(plain.interactions.rating, labelled.interactions.rating);
  ASSERT_EQ(labelled.interactions.label.size(), labelled.interactions.rating.size());
  std::int64_t clicks = 0;
  for (std::size_t i = 0; i < labelled.interactions.label.size(); ++i) {
    EXPECT_EQ(labelled.interactions.label[i], labelled.interactions.rating[i] > 3.0f ? 1 : 0);
    clicks += labelled.interactions.label[i];
  }
  EXPECT_GT(clicks, labelled.interactions.size() / 4);
  EXPECT_LT(clicks, labelled.interactions.size() * 3 / 4);
}

}  // namespace tessera
