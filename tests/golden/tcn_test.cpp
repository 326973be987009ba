#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "framework/checkpoint/safetensors.h"
#include "framework/nn/pair_testing.h"

namespace tessera {
namespace {

// The largest difference as a share of the largest expected number.
double difference(const Tensor& found, const Tensor& expected) {
  double top = 0.0;
  for (const double x : expected.values<double>()) top = std::max(top, std::abs(x));
  return testing::largest_difference(found, expected) / top;
}

void compare(const std::string& name, const std::string& options) {
  const TensorFile golden = read_safetensors(TESSERA_SOURCE_DIR "/tests/golden/tcn.safetensors");
  const auto& expected = golden.tensors;
  ItemTokens tokens;
  for (const char* level : {"text", "text", "text", "image", "image"})
    tokens.levels.push_back({level, std::string(level) == "text" ? 4 : 3, level});
  tokens.levels.push_back({"item", 7, ""});
  const auto codes = expected.at("codes").values<std::int32_t>();
  tokens.codes.assign(codes.begin(), codes.end());
  for (const auto& [dtype, tolerance] : {std::pair(DType::f64, 1e-12), std::pair(DType::f32, 1e-5)}) {
    SCOPED_TRACE(name + " in " + name_of(dtype));
    testing::Pair pair(testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"), tokens,
                       "plugin = \"flat_transformer\"\nwidth = 5\nlayers = 1\nheads = 1\nffn = 4\n",
                       "plugin = \"tcn\"\n" + options);
    const auto parameters = pair.head->parameters();
    for (const auto& [key, parameter] : parameters) {
      const Tensor& value = expected.at(name + "/value/" + key);
      ASSERT_EQ(value.shape(), parameter->value.shape()) << key;
      parameter->value = value.to(dtype);
    }
    Tape tape;
    const Tensor all = pair.head->item_tower()->all();
    EXPECT_LT(difference(all, expected.at(name + "/vectors")), tolerance);
    tape.backward(all, expected.at(name + "/cotangent").to(dtype));
    for (const auto& [key, parameter] : parameters) {
      ASSERT_TRUE(parameter->gradient) << key;
      EXPECT_LT(difference(parameter->gradient, expected.at(name + "/gradient/" + key)), tolerance) << key;
    }
  }
}

}  // namespace

TEST(TcnGoldenGrad, EveryVariantEqualsPyTorch) {
  compare("mean", "variant = \"mean\"");
  compare("fm", "variant = \"fm\"");
  compare("cross1", "");
  compare("cross3", "layers = 3");
}

}  // namespace tessera
