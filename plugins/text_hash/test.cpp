#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>

#include "framework/plugin/testing.h"
#include "framework/roles/data_source.h"
#include "framework/roles/featurizer.h"
#include "framework/roles/testing.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

std::shared_ptr<Featurizer> featurizer(const std::string& options = "") {
  return make_component<Featurizer>(kPlugins, "plugin = 'text_hash'\n" + options);
}

// Twenty lamps and twenty rugs, and one item without text.
Dataset lamps_and_rugs() {
  Dataset data;
  data.name = "shop";
  const char* lamp[] = {"bright", "lamp", "light", "bulb", "shade"};
  const char* rug[] = {"woven", "rug", "carpet", "wool", "floor"};
  for (int i = 0; i < 40; ++i) {
    const char** words = i < 20 ? lamp : rug;
    data.items.ids.push_back(std::to_string(i));
    data.items.titles.push_back(std::string(words[i % 5]) + " " + words[(i + i / 5) % 5] + ", " +
                                words[(i * 2 + 1) % 5]);
    data.items.fields["colour"].push_back(i % 2 == 0 ? "Red" : "BLUE");
  }
  data.items.ids.push_back("none");
  data.items.titles.emplace_back();
  data.items.fields["colour"].emplace_back();
  return data;
}

double cosine(const Tensor& x, std::int64_t a, std::int64_t b) {
  const std::int64_t width = x.dim(1);
  double sum = 0;
  for (std::int64_t d = 0; d < width; ++d)
    sum += static_cast<double>(x.data<float>()[a * width + d]) * x.data<float>()[b * width + d];
  return sum;
}

ItemFeatures fitted(const Dataset& data, const std::string& options = "width = 16") {
  const auto plugin = featurizer(options);
  FitContext context;
  plugin->fit(data, context);
  return plugin->features(data);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

}  // namespace

TEST(TextHash, LikeTextsLieTogether) {
  const ItemFeatures features = fitted(lamps_and_rugs());
  EXPECT_EQ(features.modality, "text");
  EXPECT_EQ(features.values.shape(), (Shape{41, 16}));
  EXPECT_EQ(features.present[40], 0);
  EXPECT_EQ(features.values.data<float>()[40 * 16], 0.0f);
  double same = 0, other = 0;
  for (int a = 0; a < 40; ++a) {
    EXPECT_NEAR(cosine(features.values, a, a), 1.0, 1e-5);
    for (int b = 0; b < a; ++b)
      ((a < 20) == (b < 20) ? same : other) += cosine(features.values, a, b) / ((a < 20) == (b < 20) ? 380.0 : 400.0);
  }
  EXPECT_GT(same, other + 0.4);
}

// With as many dimensions as rank, the vectors keep all angles of the centred TF-IDF rows; so they do not depend on the
// seed.
TEST(TextHash, FullRankIsExact) {
  const Dataset data = lamps_and_rugs();
  const auto plugin = featurizer("width = 60");
  FitContext context;
  plugin->fit(data, context);
  const ItemFeatures first = plugin->features(data);
  context.seed = 99;
  plugin->fit(data, context);
  const ItemFeatures second = plugin->features(data);
  for (int a = 0; a < 40; ++a)
    for (int b = 0; b < a; ++b) EXPECT_NEAR(cosine(first.values, a, b), cosine(second.values, a, b), 2e-4);
}

TEST(TextHash, SameBitsForAnyThreads) {
  const Dataset data = lamps_and_rugs();
  const ItemFeatures one = fitted(data);
  for (const int n : {2, 3}) {
    set_threads(n);
    EXPECT_TRUE(same_bits(fitted(data).values, one.values)) << n;
  }
  set_threads(1);
}

TEST(TextHash, EncodesNewItemsAsItsOwn) {
  const Dataset data = lamps_and_rugs();
  const auto plugin = featurizer("width = 16");
  FitContext context;
  plugin->fit(data, context);
  Items news;
  news.ids = {"new", "same", "strange"};
  news.titles = {"A woolly RUG!", data.items.titles[7], "zzzz qqqq"};
  const ItemFeatures encoded = plugin->encode(news);
  const ItemFeatures own = plugin->features(data);
  EXPECT_EQ(encoded.present, (std::vector<std::uint8_t>{1, 1, 0}));
  EXPECT_EQ(0, std::memcmp(encoded.values.data<float>() + 16, own.values.data<float>() + 7 * 16, 16 * sizeof(float)));
  double lamps = 0, rugs = 0;
  for (int d = 0; d < 16; ++d)
    for (int i = 0; i < 40; ++i)
      (i < 20 ? lamps : rugs) += encoded.values.data<float>()[d] * own.values.data<float>()[i * 16 + d];
  EXPECT_GT(rugs, lamps + 4);
}

TEST(TextHash, StateBringsTheSameVectors) {
  const Dataset data = lamps_and_rugs();
  const auto plugin = featurizer("width = 16\nfields = ['colour', 'title']"), loaded = featurizer("width = 16");
  FitContext context;
  plugin->fit(data, context);
  MemoryState state;
  plugin->visit(state);
  state.load(true);
  loaded->visit(state);
  EXPECT_TRUE(same_bits(plugin->features(data).values, loaded->features(data).values));
}

TEST(TextHash, SaysWhichFieldIsMissing) {
  Dataset data = lamps_and_rugs();
  FitContext context;
  EXPECT_NE(message_of([&] {
              featurizer("fields = ['title', 'smell']")->fit(data, context);
            }).find("text_hash: the items have no field 'smell' (they have: title, colour)"),
            std::string::npos);
  data.items.titles.clear();
  EXPECT_NE(
      message_of([&] {
        featurizer()->fit(data, context);
      }).find("text_hash: the items have none of the usual text fields (they have: colour); name them in `fields`"),
      std::string::npos);
  data.items.titles.assign(data.items.ids.size(), "");
  EXPECT_NE(
      message_of([&] { featurizer()->fit(data, context); }).find("hold no text that two of them share; check `fields`"),
      std::string::npos);
  EXPECT_NE(message_of([] { featurizer("shortest = 4\nlongest = 3"); }).find("longest is 3, below shortest, 4"),
            std::string::npos);
}

// How much likelier one of the 10 nearest neighbours is to be bought by the same user than a random item: 10.5 times
// here, 13.5 times by the vectors of a sentence encoder.
TEST(TextHash, BeautyNeighboursAreBoughtTogether) {
  const auto beauty = shared_data(TESSERA_SOURCE_DIR, "beauty");
  if (!beauty) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  Rejects rejects;
  FitContext context;
  const Dataset data =
      make_component<DataSource>(kPlugins, "plugin = 'sequences'\npath = '" + *beauty + "/sequences.txt'\nitems = '" +
                                               *beauty + "/items.jsonl'")
          ->load(rejects, context);
  const auto begin = std::chrono::steady_clock::now();
  const ItemFeatures features = fitted(data, "");
  RecordProperty("seconds",
                 std::to_string(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
  std::set<std::pair<std::int32_t, std::int32_t>> together;
  for (std::int64_t user = 0; user < data.users(); ++user) {
    const auto *first = data.interactions.item.data() + data.interactions.begin(user),
               *last = data.interactions.item.data() + data.interactions.end(user) - 2;
    for (const auto* a = first; a < last; ++a)
      for (const auto* b = a + 1; b < last; ++b) together.insert(std::minmax(*a, *b));
  }
  const auto items = static_cast<std::int32_t>(data.item_count());
  double near = 0, pairs = 0;
  for (std::int32_t item = 0; item < items; item += 80) {
    std::vector<std::pair<double, std::int32_t>> order;
    for (std::int32_t other = 0; other < items; ++other)
      if (other != item) order.emplace_back(-cosine(features.values, item, other), other);
    std::partial_sort(order.begin(), order.begin() + 10, order.end());
    for (int k = 0; k < 10; ++k, ++pairs)
      near += together.contains(std::minmax(item, order[static_cast<std::size_t>(k)].second)) ? 1.0 : 0.0;
  }
  const double random = 2.0 * static_cast<double>(together.size()) / items / (items - 1);
  RecordProperty("ratio", std::to_string(near / pairs / random));
  EXPECT_GT(near / pairs, 8 * random);
}

}  // namespace tessera
