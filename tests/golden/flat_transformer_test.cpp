#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "framework/checkpoint/safetensors.h"
#include "framework/nn/pair_testing.h"

namespace tessera {
namespace {

constexpr std::int64_t kItems = 20;
const std::string kSizes = "plugin = \"flat_transformer\"\nwidth = 8\nlayers = 2\nheads = 2\nffn = 12\nmax_items = 6\n";

// The largest difference as a share of the largest expected number.
double difference(const Tensor& found, const Tensor& expected) {
  double top = 0.0;
  for (const double x : expected.values<double>()) top = std::max(top, std::abs(x));
  return testing::largest_difference(found, expected) / top;
}

void compare(const std::string& name, const std::string& model, const std::string& head, ItemTokens tokens) {
  const TensorFile golden = read_safetensors(TESSERA_SOURCE_DIR "/tests/golden/flat_transformer.safetensors");
  const auto& expected = golden.tensors;
  Histories whole;
  whole.item.assign(expected.at("items").values<std::int32_t>().begin(),
                    expected.at("items").values<std::int32_t>().end());
  for (const std::int32_t length : expected.at("lengths").values<std::int32_t>()) {
    whole.user.push_back(-1);
    whole.offset.push_back(whole.offset.back() + length);
  }
  if (tokens.levels.size() > 1) {
    const auto codes = expected.at("codes").values<std::int32_t>();
    tokens.codes.assign(codes.begin(), codes.end());
  }
  for (const auto& [dtype, tolerance] : {std::pair(DType::f64, 1e-12), std::pair(DType::f32, 1e-5)}) {
    testing::Pair pair(testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"), tokens, model, head);
    std::vector<std::pair<std::string, Parameter*>> parameters;
    for (auto& [key, parameter] : pair.model->parameters()) parameters.emplace_back("model/" + key, parameter);
    for (auto& [key, parameter] : pair.head->parameters()) parameters.emplace_back("head/" + key, parameter);
    for (auto& [key, parameter] : parameters) {
      const Tensor& value = expected.at(name + "/value/" + key);
      ASSERT_EQ(value.shape(), parameter->value.shape()) << key;
      parameter->value = value.to(dtype);
    }
    const TrainBatch batch = testing::batch_of(whole, pair.form());
    SCOPED_TRACE(name + " in " + name_of(dtype));
    Tape tape;
    const Tensor states = pair.model->encode(batch.histories).states;
    EXPECT_LT(difference(states, expected.at(name + "/states")), tolerance);
    const Tensor loss = pair.head->loss(*pair.model, batch);
    EXPECT_LT(difference(loss, expected.at(name + "/loss")), tolerance);
    tape.backward(loss);
    for (auto& [key, parameter] : parameters) {
      ASSERT_TRUE(parameter->gradient) << key;
      EXPECT_LT(difference(parameter->gradient, expected.at(name + "/gradient/" + key)), tolerance) << key;
    }
  }
}

}  // namespace

TEST(FlatTransformerGoldenGrad, ItemsAndInnerProductEqualPyTorch) {
  compare("items", kSizes, "plugin = \"dot_product\"", testing::random_tokens(kItems, 1, kItems));
}

TEST(FlatTransformerGoldenGrad, TokensContinuedEqualPyTorch) {
  compare("tokens",
          kSizes + "input = \"tokens\"\npositions = \"rope\"\nnorm = \"rms\"\nactivation = \"silu\"\nbias = false",
          "plugin = \"generative_decoder\"\nform = \"continue\"\nvocabulary = \"shared\"",
          testing::random_tokens(kItems, 3, 4));
}

}  // namespace tessera
