#include <gtest/gtest.h>

#include <cstring>

#include "framework/plugin/testing.h"
#include "framework/roles/featurizer.h"
#ifdef TESSERA_IMAGE_LACKS

namespace tessera {

TEST(Image, SaysWhatTheBuildLacks) {
  EXPECT_NE(message_of([] {
              make_component<Featurizer>(TESSERA_BINARY_DIR "/lib/tessera/plugins", "plugin = 'image'");
            }).find("image: this build cannot read images; install " TESSERA_IMAGE_LACKS " and build again"),
            std::string::npos);
}

}  // namespace tessera

#else

#include "framework/roles/testing.h"
#include "plugins/image/testing.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

using namespace image_testing;

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

double square_distance(const Tensor& x, std::int64_t a, std::int64_t b) {
  double sum = 0;
  for (std::int64_t d = 0; d < x.dim(1); ++d) {
    const double difference = x.data<float>()[a * x.dim(1) + d] - x.data<float>()[b * x.dim(1) + d];
    sum += difference * difference;
  }
  return sum;
}

// Items 0 .. 39: striped pictures, upright (even) and level (odd) stripes; item 40 has none.
struct Shop {
  TemporaryFolder folder;
  Dataset data;
  Shop() {
    data.name = "shop";
    data.files["image"] = folder.path();
    for (int i = 0; i <= 40; ++i) {
      data.items.ids.push_back(std::to_string(i));
      if (i < 40) write_png(folder.path(std::to_string(i) + ".png"), stripes(60 + i % 7, 80, i % 2 == 0, i));
    }
  }
};

std::vector<std::string> said_by_fit(Featurizer& plugin, const Dataset& data) {
  std::vector<std::string> said;
  FitContext context;
  context.say = [&](const std::string& line) { said.push_back(line); };
  plugin.fit(data, context);
  return said;
}

ItemFeatures fitted(const Dataset& data, const std::string& options = "components = 16") {
  const auto plugin = featurizer(options);
  said_by_fit(*plugin, data);
  return plugin->features(data);
}

}  // namespace

TEST(Image, LikeImagesLieTogetherAndItemsWithoutAreAbsent) {
  const Shop shop;
  const auto plugin = featurizer("components = 16");
  const auto said = said_by_fit(*plugin, shop.data);
  const ItemFeatures features = plugin->features(shop.data);
  EXPECT_EQ(features.modality, "image");
  EXPECT_EQ(features.values.shape(), (Shape{41, 16}));
  for (std::size_t i = 0; i < 41; ++i) EXPECT_EQ(features.present[i], i < 40 ? 1 : 0);
  EXPECT_EQ(features.values.data<float>()[40 * 16], 0.0f);
  double same = 0, other = 0, square = 0;
  for (int a = 0; a < 40; ++a) {
    for (int b = 0; b < a; ++b)
      (a % 2 == b % 2 ? same : other) += square_distance(features.values, a, b) / (a % 2 == b % 2 ? 380 : 400);
    for (int d = 0; d < 16; ++d) square += std::pow(features.values.data<float>()[a * 16 + d], 2) / (40 * 16);
  }
  EXPECT_LT(same, 0.6 * other);
  EXPECT_NEAR(square, 1.0, 0.05);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0], "image: 41 items, 40 with an image, 1 without a file, 0 with a broken one; 16 numbers each");
  EXPECT_EQ(said[1], "image: no file, so absent: items 40");
}

TEST(Image, SameBitsForAnyThreads) {
  const Shop shop;
  const ItemFeatures one = fitted(shop.data);
  for (const int n : {2, 3}) {
    set_threads(n);
    EXPECT_TRUE(same_bits(fitted(shop.data).values, one.values)) << n;
  }
  set_threads(1);
}

TEST(Image, ReadsTheFieldBeforeTheFolder) {
  const Shop shop;
  Dataset by_field;
  by_field.name = "fields";
  by_field.items.ids = {"a", "b", "c", "d"};
  by_field.items.fields["image"] = {shop.folder.path("3.png"), "", shop.folder.path("nowhere.png"),
                                    shop.folder.path("4.png")};
  const auto plugin = featurizer("components = 16");
  said_by_fit(*plugin, shop.data);
  const ItemFeatures own = plugin->features(shop.data), field = plugin->features(by_field);
  EXPECT_EQ(field.present, (std::vector<std::uint8_t>{1, 0, 0, 1}));
  EXPECT_NEAR(square_distance(own.values, 3, 4), square_distance(field.values, 0, 3), 1e-3);
  Dataset relative = shop.data;
  relative.items.fields["image"].assign(41, "");
  relative.items.fields["image"][40] = "5.png";
  const ItemFeatures mixed = plugin->features(relative);
  EXPECT_EQ(mixed.present[40], 1);
  EXPECT_LT(square_distance(mixed.values, 40, 5), 1e-6);
}

TEST(Image, EncodesNewItemsFromFilesAndFromState) {
  const Shop shop;
  const auto plugin = featurizer("components = 16"), loaded = featurizer("components = 16");
  said_by_fit(*plugin, shop.data);
  MemoryState state;
  plugin->visit(state);
  state.load(true);
  loaded->visit(state);
  const ItemFeatures own = plugin->features(shop.data);
  EXPECT_TRUE(same_bits(own.values, loaded->features(shop.data).values));
  write_png(shop.folder.path("new.png"), stripes(64, 64, true, 77));
  Items news;
  news.ids = {"new", "7", "gone", "../" + shop.folder.path("7")};
  const ItemFeatures encoded = loaded->encode(news);
  EXPECT_EQ(encoded.present, (std::vector<std::uint8_t>{1, 1, 0, 0}));
  double near = 0, far = 0;
  for (int d = 0; d < 16; ++d) {
    const float* row = encoded.values.data<float>();
    EXPECT_NEAR(row[16 + d], own.values.data<float>()[7 * 16 + d], 1e-4);
    for (int i = 0; i < 40; ++i)
      (i % 2 == 0 ? near : far) += std::pow(row[d] - own.values.data<float>()[i * 16 + d], 2);
  }
  EXPECT_LT(near, far);
}

TEST(Image, LearnsFromASampleOfManyImages) {
  const Shop shop;
  const ItemFeatures features = fitted(shop.data, "components = 8\nfit_items = 16");
  EXPECT_EQ(std::count(features.present.begin(), features.present.end(), 1), 40);
}

TEST(Image, StopsWhenAsked) {
  const Shop shop;
  FitContext context;
  context.stop = [] { return true; };
  EXPECT_THROW(featurizer()->fit(shop.data, context), Stopped);
}

TEST(Image, SaysWhereItLooked) {
  Shop shop;
  FitContext context;
  shop.data.files["image"] = shop.folder.path("0.png");
  EXPECT_EQ(message_of([&] { featurizer()->fit(shop.data, context); }),
            "image: " + shop.folder.path("0.png") +
                " is no folder; expected one with an image for each item, ID.jpg, ID.jpeg or ID.png");
  shop.data.files.clear();
  EXPECT_EQ(message_of([&] { featurizer()->fit(shop.data, context); }),
            "image: no images for the modality 'image'; write  image = \"folder\"  under [data.files], give `path`, or "
            "items with a raw field 'image' that holds the path of an image");
  shop.data.items.fields["image"].assign(41, "far/away.png");
  EXPECT_EQ(message_of([&] { featurizer()->fit(shop.data, context); }),
            "image: none of the 41 items of 'shop' has an image; looked for 'far/away.png' and others that the field "
            "'image' names");
  const TemporaryFolder empty;
  shop.data.items.fields.clear();
  shop.data.files["image"] = empty.path();
  EXPECT_NE(message_of([&] { featurizer()->fit(shop.data, context); }).find(" for '0.jpg', .jpeg, .png and so on"),
            std::string::npos);
}

#ifndef TESSERA_WITH_OPENCV_DNN
TEST(Image, SaysHowAModelCanBeRun) {
  EXPECT_NE(message_of([] { featurizer("model = 'clip.onnx'"); })
                .find("image: model = 'clip.onnx' needs OpenCV's dnn module, which this build lacks; install "
                      "libopencv-dnn-dev and build with -DTESSERA_OPENCV_DNN=ON, or leave `model` out"),
            std::string::npos);
}
#endif

}  // namespace tessera

#endif
