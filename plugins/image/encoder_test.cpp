#ifdef TESSERA_WITH_OPENCV_DNN
#include <gtest/gtest.h>

#include "plugins/image/testing.h"

namespace tessera {
namespace {

using namespace image_testing;

// Enough of protobuf to write a model by hand.
std::string number(int field, std::uint64_t value) {
  std::string out(1, static_cast<char>(field << 3));
  for (; value > 127; value >>= 7) out += static_cast<char>((value & 127) | 128);
  return out + static_cast<char>(value);
}

std::string text(int field, const std::string& body) {
  std::string out = number(field, body.size());
  out[0] = static_cast<char>(field << 3 | 2);
  return out + body;
}

std::string value_info(const std::string& name, const std::vector<int>& dims) {
  std::string shape;
  for (const int dim : dims) shape += text(1, number(1, static_cast<std::uint64_t>(dim)));
  return text(1, name) + text(2, text(1, number(1, 1) + text(2, shape)));
}

// The mean of each channel.
std::string mean_model(int side) {
  const std::string node = text(1, "x") + text(2, "y") + text(3, "mean") + text(4, "GlobalAveragePool");
  const std::string graph = text(1, node) + text(2, "g") + text(11, value_info("x", {1, 3, side, side})) +
                            text(12, value_info("y", {1, 3, 1, 1}));
  return number(1, 7) + text(7, graph) + text(8, text(1, "") + number(2, 11));
}

}  // namespace

TEST(ImageEncoder, RunsAModelFromAFile) {
  const TemporaryFolder folder;
  const std::string model = folder.write("mean.onnx", mean_model(8));
  Dataset data;
  data.name = "colours";
  data.files["image"] = folder.path();
  for (int i = 0; i < 6; ++i) {  // red and blue by turns, each a little different
    data.items.ids.push_back(str("i", i));
    const auto level = static_cast<std::uint8_t>(20 * i);
    Pixels pixels{20, 20, {}};
    for (int p = 0; p < 400; ++p)
      for (const int c : {i % 2 == 0 ? 255 : int{level}, 60, i % 2 == 0 ? int{level} : 255})
        pixels.rgb.push_back(static_cast<std::uint8_t>(c));
    write_png(folder.path(str("i", i, ".png")), pixels);
  }
  const auto plugin = featurizer("components = 2\nmodel_side = 8\nscaling = 'none'\nmodel = '" + model + "'");
  FitContext context;
  plugin->fit(data, context);
  const ItemFeatures features = plugin->features(data);
  ASSERT_EQ(features.values.shape(), (Shape{6, 2}));
  const float* x = features.values.data<float>();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(x[2 * i] > 0, (i % 2 == 0) == (x[0] > 0)) << i;
}

TEST(ImageEncoder, NamesAModelThatCannotBeRun) {
  const TemporaryFolder folder;
  const std::string model = folder.write("broken.onnx", "no model");
  EXPECT_NE(message_of([&] {
              featurizer("model = '" + model + "'");
            }).find("image: the model " + model + " cannot be run on 224 x 224 pixels: "),
            std::string::npos);
}

}  // namespace tessera
#endif
