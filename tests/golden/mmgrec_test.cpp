#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "framework/checkpoint/safetensors.h"
#include "framework/nn/graph_sage.h"
#include "framework/nn/pair_testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

const TensorFile& golden() {
  static const TensorFile file = read_safetensors(TESSERA_SOURCE_DIR "/tests/golden/mmgrec.safetensors");
  return file;
}

const Tensor& given(const std::string& name) { return golden().tensors.at(name); }

// The largest difference as a share of the largest expected number.
double difference(const Tensor& found, const std::string& name) {
  const Tensor& expected = given(name);
  double top = 0.0;
  for (const double x : expected.values<double>()) top = std::max(top, std::abs(x));
  return testing::largest_difference(found, expected) / top;
}

void load(Module& module, const std::string& name, DType dtype) {
  for (auto& [key, parameter] : module.parameters()) {
    const Tensor& value = given(name + "/value/" + key);
    ASSERT_EQ(value.shape(), parameter->value.shape()) << key;
    parameter->value = value.to(dtype).clone();
  }
}

void compare_gradients(Module& module, const std::string& name, double tolerance) {
  for (auto& [key, parameter] : module.parameters()) {
    ASSERT_TRUE(parameter->gradient) << key;
    EXPECT_LT(difference(parameter->gradient, name + "/gradient/" + key), tolerance) << key;
  }
}

Dataset world() {
  Dataset data;
  data.name = "golden";
  for (int i = 0; i < 15; ++i) data.items.ids.push_back(str("i", i));
  const auto pairs = given("graph/pairs").values<std::int32_t>();
  for (std::int32_t u = 0; u < 20; ++u) {
    data.user_ids.push_back(str("u", u));
    for (std::size_t p = 0; p < pairs.size(); p += 2)
      if (pairs[p] == u) data.interactions.item.push_back(pairs[p + 1]);
    data.interactions.offset.push_back(data.interactions.size());
  }
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
  return data;
}

}  // namespace

TEST(MmgrecGoldenGrad, GraphSageEqualsPyTorch) {
  const Dataset data = world();
  GraphSageOptions options{8, 7, 6, true, Activation::leaky_relu, 0.0, 0.0};
  // Shares of neighbours, 1 / degree, are f32.
  for (const auto& [dtype, tolerance] : {std::pair(DType::f64, 1e-7), std::pair(DType::f32, 1e-5)}) {
    SCOPED_TRACE(name_of(dtype));
    GraphSage network(options, data, given("graph/features").to(dtype));
    load(network, "graph", dtype);
    {
      const auto [users, items] = network.vectors();
      EXPECT_LT(difference(users, "graph/user_vectors"), tolerance);
      EXPECT_LT(difference(items, "graph/item_vectors"), tolerance);
    }
    std::vector<std::int32_t> user, item, repeat;
    const auto batch = given("graph/batch").values<std::int32_t>(),
               negative = given("graph/negative").values<std::int32_t>();
    for (std::size_t b = 0; b < 12; ++b) {
      user.push_back(batch[2 * b]);
      item.push_back(batch[2 * b + 1]);
      repeat.insert(repeat.end(), 2, static_cast<std::int32_t>(b));
    }
    item.insert(item.end(), negative.begin(), negative.end());
    Tape tape;
    const auto [users, items] = network.vectors_of(user, item);
    const Tensor u = gather_rows(users, repeat), positive = gather_rows(slice_rows(items, 0, 12), repeat);
    const Tensor loss = bpr(row_dot(u, positive), row_dot(u, slice_rows(items, 12, 36)));
    EXPECT_LT(difference(loss, "graph/loss"), tolerance);
    tape.backward(loss);
    compare_gradients(network, "graph", tolerance);
  }
}

TEST(MmgrecGoldenGrad, RelationTransformerEqualsPyTorch) {
  for (const auto& [dtype, tolerance] : {std::pair(DType::f64, 1e-12), std::pair(DType::f32, 1e-5)}) {
    SCOPED_TRACE(name_of(dtype));
    ItemTokens tokens = testing::random_tokens(15, 2, 5);
    tokens.item_vectors = given("encoder/items").to(dtype);
    tokens.user_vectors = given("encoder/users").to(dtype);
    testing::Pair pair(testing::registry(TESSERA_BINARY_DIR "/lib/tessera/plugins"), tokens,
                       "plugin = \"relation_transformer\"\nwidth = 6\nlayers = 2\nheads = 2\nhead_width = 4\nffn = 9",
                       "plugin = \"generative_decoder\"\nform = \"cross\"");
    load(*pair.model, "encoder", dtype);
    Histories sets;
    const auto items = given("encoder/sets").values<std::int32_t>();
    sets.item.assign(items.begin(), items.end());
    for (const std::int32_t length : given("encoder/lengths").values<std::int32_t>()) {
      sets.user.push_back(static_cast<std::int32_t>(sets.rows()));
      sets.offset.push_back(sets.offset.back() + length);
    }
    Tape tape;
    const Tensor states = pair.model->encode(sets).states;
    EXPECT_LT(difference(states, "encoder/states"), tolerance);
    const Tensor loss = sum(multiply(states, given("encoder/cotangent").to(dtype)));
    EXPECT_LT(difference(loss, "encoder/loss"), tolerance);
    tape.backward(loss);
    compare_gradients(*pair.model, "encoder", tolerance);
  }
}

}  // namespace tessera
