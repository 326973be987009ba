#include "framework/nn/feature_light_gcn.h"

#include <gtest/gtest.h>

#include <map>

#include "framework/nn/graph_testing.h"
#include "framework/nn/interaction_graph.h"
#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/testing.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/reduce/reduce.h"

namespace tessera {
namespace {

constexpr std::int64_t kUsers = 20, kItems = 15, kFeatures = 7, kWidth = 5;
constexpr int kLayers = 3;

struct World {
  explicit World(bool free_items)
      : data(testing::graph_world(kUsers, kItems, 0.04)),
        features(random_f64({kItems, kFeatures}, 1).to(DType::f32)),
        network(kWidth, kLayers, free_items, 0.3, 0.5, data, features) {
    network.initialize(3, "network/");
  }
  Dataset data;
  Tensor features;
  FeatureLightGcn network;
};

void expect_near(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::size_t n = 0; n < a.values<float>().size(); ++n)
    ASSERT_NEAR(a.values<float>()[n], b.values<float>()[n], tolerance) << n;
}

TEST(FeatureLightGcn, IsLightGcnFromFeaturesAndFreeVectors) {
  for (const bool free_items : {true, false}) {
    World w(free_items);
    std::map<std::string, Tensor> p;
    for (auto& [name, parameter] : w.network.parameters()) p[name] = parameter->value;
    Tensor items = matmul(w.features, p.at("fuse.weight"));
    if (free_items) items = add(items, p.at("items"));
    EXPECT_EQ(p.contains("items"), free_items);
    const SparseMatrix graph = interaction_graph(w.data, EdgeWeights::symmetric);
    const auto expected = light_gcn(graph, p.at("users"), items, kLayers), found = w.network.vectors();
    expect_near(found.first, expected.first, 0.0);
    expect_near(found.second, expected.second, 0.0);
    const std::vector<std::int32_t> users{7, 4, 19, 7}, some{14, 3, 3, 12};
    const auto rows = w.network.vectors_of(users, some);
    expect_near(rows.first, gather_rows(expected.first, users), 1e-6);
    expect_near(rows.second, gather_rows(expected.second, some), 1e-6);
    double squares = 0.0;
    for (const auto& [table, wanted] : {std::pair(p.at("users"), users), std::pair(items, some)})
      for (const float v : gather_rows(table, wanted).values<float>()) squares += double{v} * v;
    EXPECT_NEAR(w.network.penalty(2).item(), 0.5 * 0.5 * squares / 2, 1e-5);
  }
}

// An item of the graph, given as a new one with its users, has the vector that it has.
TEST(FeatureLightGcn, NewItemsAreMadeOfFeaturesAndUsers) {
  World w(false);
  const Tensor state = w.network.user_state();
  ASSERT_EQ(state.shape(), Shape({kUsers, kLayers * kWidth}));
  const SparseMatrix graph = interaction_graph(w.data, EdgeWeights::ones);
  const auto& by_items = graph.by_columns();
  std::vector<std::int64_t> counts;
  for (std::size_t i = 0; i < kItems; ++i) counts.push_back(by_items.offset[i + 1] - by_items.offset[i]);
  const Tensor means = segment_mean(gather_rows(state, by_items.index), by_items.offset);
  const Tensor items = w.network.vectors().second;
  expect_near(w.network.encode(w.features, means, counts), items, 1e-6);
  const Tensor alone = w.network.encode(w.features, {}, {});
  expect_near(alone.row_range(14, 15).clone(), items.row_range(14, 15).clone(), 1e-6);
}

TEST(FeatureLightGcn, SameBitsForAnyThreads) {
  World w(true);
  for (std::size_t k = 0; k < w.network.parameters().size(); ++k)
    EXPECT_TRUE(same_bits([&] {
      Tape tape;
      const auto [u, i] = w.network.vectors_of(std::vector<std::int32_t>{7, 4, 19}, std::vector<std::int32_t>{1, 3});
      tape.backward(add(sum(multiply(u, u)), sum(multiply(i, i))));
      const auto parameters = w.network.parameters();
      const Tensor out = parameters[k].second->gradient;
      for (auto& [name, parameter] : parameters) parameter->gradient = {};
      return out;
    })) << k;
}

}  // namespace
}  // namespace tessera
