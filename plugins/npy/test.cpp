#include <gtest/gtest.h>

#include <limits>

#include "framework/data/npy.h"
#include "framework/data/rejects.h"
#include "framework/plugin/testing.h"
#include "framework/roles/featurizer.h"

namespace tessera {
namespace {

const std::string kPlugins = TESSERA_BINARY_DIR "/lib/tessera/plugins";

std::shared_ptr<Featurizer> featurizer(const std::string& options) {
  return make_component<Featurizer>(kPlugins, "plugin = 'npy'\n" + options);
}

Dataset three_items() {
  Dataset data;
  data.items.ids = {"a", "b", "c"};
  return data;
}

std::string write(const TemporaryFolder& folder, const Tensor& values) {
  write_npy(folder.path("v.npy"), values);
  return folder.path("v.npy");
}

}  // namespace

TEST(Npy, RowsAreItemsAndZerosAreAbsent) {
  const TemporaryFolder folder;
  Dataset data = three_items();
  data.files["image"] = write(folder, Tensor::from<float>({1, 2, 0, 0, 5, 6}, {3, 2}));
  const auto plugin = featurizer("modality = 'image'");
  FitContext context;
  plugin->fit(data, context);
  const ItemFeatures features = plugin->features(data);
  EXPECT_EQ(features.modality, "image");
  EXPECT_EQ(features.values.shape(), (Shape{3, 2}));
  EXPECT_EQ(features.values.data<float>()[4], 5.0f);
  EXPECT_EQ(features.present, (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_NE(message_of([&] { plugin->encode(data.items); }).find("npy: cannot encode items that have no row"),
            std::string::npos);
}

TEST(Npy, PathOptionWinsAndZerosMayCount) {
  const TemporaryFolder folder;
  const Dataset data = three_items();
  const auto plugin = featurizer("path = '" + write(folder, Tensor::zeros({3, 2})) + "'\nzero_is_absent = false");
  const ItemFeatures features = plugin->features(data);  // as after a checkpoint: without fit()
  EXPECT_EQ(features.present, (std::vector<std::uint8_t>{1, 1, 1}));
}

TEST(Npy, RefusesWhatDoesNotFit) {
  const TemporaryFolder folder;
  const Dataset data = three_items();
  FitContext context;
  const auto says = [&](const Tensor& values) {
    const std::string path = write(folder, values);
    const std::string text = message_of([&] { featurizer("path = '" + path + "'")->fit(data, context); });
    const std::size_t at = text.find(path);
    return at == std::string::npos ? text : text.substr(at + path.size() + 2);
  };
  EXPECT_EQ(says(Tensor::zeros({4, 2})),
            "has the shape (4, 2), expected (3, D): one row for each item of the catalogue, in its order");
  EXPECT_EQ(says(Tensor::zeros({3})),
            "has the shape (3), expected (3, D): one row for each item of the catalogue, in its order");
  EXPECT_EQ(says(Tensor::zeros({3, 2}, DType::i32)), "holds whole numbers (i32), expected f16, f32 or f64");
  EXPECT_NE(message_of([&] {
              featurizer("modality = 'audio'")->fit(data, context);
            }).find("npy: no file for the modality 'audio'; write  audio = \"vectors.npy\"  under [data.files]"),
            std::string::npos);
}

TEST(Npy, BadNumbersAreNamedOrMadeAbsent) {
  const TemporaryFolder folder;
  const Dataset data = three_items();
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const std::string path = write(folder, Tensor::from<float>({1, 2, 3, nan, -inf, 6}, {3, 2}));
  FitContext context;
  const std::string text = message_of([&] { featurizer("path = '" + path + "'")->fit(data, context); });
  EXPECT_NE(text.find("2 bad records\n  " + path + ":1: column 1 is nan, expected a finite number\n  " + path +
                      ":2: column 0 is -inf, expected a finite number"),
            std::string::npos)
      << text;
  Rejects rejects(true);
  context.rejects = &rejects;
  const auto plugin = featurizer("path = '" + path + "'");
  plugin->fit(data, context);
  EXPECT_EQ(rejects.count(), 2);
  const ItemFeatures features = plugin->features(data);
  EXPECT_EQ(features.present, (std::vector<std::uint8_t>{1, 0, 0}));
  EXPECT_EQ(features.values.data<float>()[2], 0.0f);
}

TEST(Npy, BeautyVectorsAreRead) {
  const auto beauty = shared_data(TESSERA_SOURCE_DIR, "beauty");
  if (!beauty) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  const Tensor x = read_npy(*beauty + "/text_minilm384_f16.npy");
  EXPECT_EQ(x.shape(), (Shape{12101, 384}));
  double square = 0;
  for (int d = 0; d < 384; ++d) square += x.data<float>()[d] * x.data<float>()[d];
  EXPECT_NEAR(square, 1.0, 1e-2);  // sentence vectors of unit length
}

}  // namespace tessera
