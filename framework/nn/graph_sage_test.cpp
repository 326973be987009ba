#include "framework/nn/graph_sage.h"

#include <gtest/gtest.h>

#include <cmath>
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
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

constexpr std::int64_t kUsers = 30, kItems = 20;

// Narrow features are mapped once, by products of weights; wide ones through the common width; some as they are.
struct Case {
  const char* name;
  std::int64_t features;
  GraphSageOptions options;
};
const std::vector<Case> kCases{{"narrow", 7, {8, 6, 5, true, Activation::leaky_relu, 0.0, 0.0}},
                               {"wide", 60, {8, 6, 5, true, Activation::leaky_relu, 0.0, 0.0}},
                               {"as they are", 8, {8, 6, 5, false, Activation::relu, 0.0, 0.0}}};

struct World {
  explicit World(const Case& c, DType dtype = DType::f64)
      : data(testing::graph_world(kUsers, kItems, 0.03)),
        features(random_f64({kItems, c.features}, 1).to(dtype)),
        network(c.options, data, features) {
    network.initialize(3, "network/");
    for (auto& [name, parameter] : network.parameters())
      parameter->value = random_f64(parameter->value.shape(), stream_of(name), 0.5).to(dtype);
  }

  Dataset data;
  Tensor features;
  GraphSage network;
};

// The header's formula, node by node of one kind, with nothing left out and nothing exchanged.
std::pair<Tensor, Tensor> formula(World& w, const Case& c) {
  std::map<std::string, Tensor> p;
  for (auto& [name, parameter] : w.network.parameters()) p[name] = (*parameter)();
  const SparseMatrix of_users = interaction_graph(w.data, EdgeWeights::user_mean);
  const SparseMatrix of_items = interaction_graph(w.data, EdgeWeights::item_mean);
  Tensor u = p.at("users"), i = c.options.fuse ? matmul(w.features, p.at("fuse.weight")) : w.features;
  for (const std::string layer : {"layer1", "layer2"}) {
    const auto next = [&](const Tensor& self, const Tensor& mean) {
      return add(add(matmul(self, p.at(layer + ".self.weight")), matmul(mean, p.at(layer + ".neighbours.weight"))),
                 p.at(layer + ".self.bias"));
    };
    const Tensor next_u = next(u, sparse_matmul(of_users, i)), next_i = next(i, sparse_matmul(of_items, u, true));
    const bool first = layer == "layer1";
    u = first ? activate(next_u, c.options.activation) : next_u;
    i = first ? activate(next_i, c.options.activation) : next_i;
  }
  return {u, i};
}

const std::vector<std::int32_t> kSomeUsers{7, 4, 29, 7, 0}, kSomeItems{19, 3, 3, 12};

// Both vectors and the gradients of all parameters under a cotangent of the batch's rows.
template <class F>
std::vector<Tensor> run(World& w, F&& vectors) {
  Tape tape;
  const auto [u, i] = vectors();
  tape.backward(add(sum(multiply(u, random_f64(u.shape(), 5).to(u.dtype()))),
                    sum(multiply(i, random_f64(i.shape(), 6).to(i.dtype())))));
  std::vector<Tensor> out{u, i};
  for (auto& [name, parameter] : w.network.parameters()) {
    out.push_back(parameter->gradient);
    parameter->gradient = {};
  }
  return out;
}

std::pair<Tensor, Tensor> rows(const std::pair<Tensor, Tensor>& all) {
  return {gather_rows(all.first, kSomeUsers), gather_rows(all.second, kSomeItems)};
}

TEST(GraphSageGrad, VectorsOfABatchAreTheFormulasRows) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    World w(c);
    const auto expected = run(w, [&] { return rows(formula(w, c)); });
    const auto whole = run(w, [&] { return rows(w.network.vectors()); });
    const auto batch = run(w, [&] { return w.network.vectors_of(kSomeUsers, kSomeItems); });
    for (std::size_t k = 0; k < expected.size(); ++k)
      for (const auto& found : {whole[k], batch[k]}) {
        ASSERT_EQ(found.shape(), expected[k].shape()) << k;
        for (std::size_t n = 0; n < found.values<double>().size(); ++n)
          ASSERT_NEAR(found.values<double>()[n], expected[k].values<double>()[n], 1e-11) << k << " " << n;
      }
  }
}

TEST(GraphSage, NobodyIsAskedFor) {
  World w(kCases[0]);
  const auto [users, items] = w.network.vectors_of({}, kSomeItems);
  EXPECT_EQ(users.shape(), Shape({0, 5}));
  EXPECT_EQ(items.shape(), Shape({4, 5}));
}

TEST(GraphSage, SameBitsForAnyThreads) {
  Case c = kCases[0];
  c.options.hidden_dropout = c.options.output_dropout = 0.3;
  World w(c, DType::f32);
  for (std::size_t k = 0; k < 2 + w.network.parameters().size(); ++k)
    EXPECT_TRUE(same_bits([&] {
      const TrainingScope training(1, 2);
      return run(w, [&] { return w.network.vectors_of(kSomeUsers, kSomeItems); })[k];
    })) << k;
}

}  // namespace
}  // namespace tessera
