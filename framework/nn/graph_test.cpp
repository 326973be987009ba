#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "framework/nn/contrastive.h"
#include "framework/nn/graph_losses.h"
#include "framework/nn/interaction_graph.h"
#include "framework/nn/knn_graph.h"
#include "framework/nn/modality_features.h"
#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/core/testing.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/norm/norm.h"
#include "tensor/ops/sparse_matmul/sparse_matmul.h"

namespace tessera {
namespace {

// 30 users with some of 20 items, the popular ones more often; user 4 and item 19 have no training interaction. Every
// third interaction stands twice, every fifth tests.
Dataset world() {
  Dataset data;
  data.name = "world";
  Random random(5, 1);
  for (int i = 0; i < 20; ++i) data.items.ids.push_back(str("i", i));
  for (int u = 0; u < 30; ++u) {
    data.user_ids.push_back(str("u", u));
    const auto add = [&](std::int32_t item, Part part) {
      data.interactions.item.push_back(item);
      data.interactions.part.push_back(part);
    };
    for (std::int32_t i = 0; i < 19; ++i) {
      if (random.uniform() > 0.6 - 0.025 * i) continue;
      add(i, u == 4 || random.below(5) == 0 ? Part::test : Part::train);
      if (random.below(3) == 0) add(i, data.interactions.part.back());
    }
    add(19, Part::test);
    data.interactions.offset.push_back(data.interactions.size());
  }
  return data;
}

const SparseMatrix& graph() {
  static const SparseMatrix made = interaction_graph(world(), EdgeWeights::symmetric);
  return made;
}

// (R, C), in f64.
Tensor dense(const SparseMatrix& a) {
  Tensor full = Tensor::zeros({a.rows(), a.columns()}, DType::f64);
  const auto row = a.row_of_entries();
  for (std::size_t e = 0; e < row.size(); ++e)
    full.values<double>()[static_cast<std::size_t>(row[e] * a.columns() + a.column_of_entries()[e])] +=
        static_cast<double>(a.by_rows().value[e]);
  return full;
}

void expect_near(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::size_t i = 0; i < a.values<double>().size(); ++i)
    ASSERT_NEAR(a.values<double>()[i], b.values<double>()[i], tolerance) << i;
}

ItemFeatures features(const std::string& name, const std::vector<float>& values, std::int64_t items) {
  ItemFeatures out;
  out.modality = name;
  out.values = Tensor::from(values, {items, static_cast<std::int64_t>(values.size()) / items});
  out.present.assign(static_cast<std::size_t>(items), 1);
  return out;
}

}  // namespace

TEST(InteractionGraph, HoldsTrainingInteractionsOnce) {
  const Dataset data = world();
  const SparseMatrix ones = interaction_graph(data, EdgeWeights::ones);
  std::set<std::pair<std::int32_t, std::int32_t>> pairs;
  for (std::int32_t u = 0; u < 30; ++u)
    for (auto i = data.interactions.begin(u); i < data.interactions.end(u); ++i)
      if (data.interactions.part[static_cast<std::size_t>(i)] == Part::train)
        pairs.emplace(u, data.interactions.item[static_cast<std::size_t>(i)]);
  EXPECT_EQ(ones.entries(), static_cast<std::int64_t>(pairs.size()));
  const auto row = ones.row_of_entries();
  for (std::size_t e = 0; e < row.size(); ++e) EXPECT_TRUE(pairs.contains({row[e], ones.column_of_entries()[e]}));
  EXPECT_EQ(ones.by_rows().offset[4], ones.by_rows().offset[5]);
  const Tensor one = Tensor::full({20, 1}, 1.0);
  for (const float mean : sparse_matmul(weighted(ones, EdgeWeights::user_mean), one).values<float>())
    EXPECT_TRUE(std::abs(mean - 1.0f) < 1e-6f || mean == 0.0f);
  const Tensor means = sparse_matmul(weighted(ones, EdgeWeights::item_mean), Tensor::full({30, 1}, 1.0), true);
  EXPECT_EQ(means.values<float>()[19], 0.0f);
  EXPECT_NEAR(means.values<float>()[0], 1.0f, 1e-6f);
  const auto users = ones.by_rows().offset, items = ones.by_columns().offset;
  for (std::size_t e = 0; e < row.size(); ++e) {
    const auto u = static_cast<std::size_t>(row[e]), i = static_cast<std::size_t>(ones.column_of_entries()[e]);
    EXPECT_NEAR(graph().by_rows().value[e],
                1.0 / std::sqrt(static_cast<double>((users[u + 1] - users[u]) * (items[i + 1] - items[i]))), 1e-7);
  }
  Dataset unsplit = data;
  unsplit.interactions.part.clear();
  EXPECT_NE(message_of([&] { interaction_graph(unsplit, EdgeWeights::ones); }).find("call split() first"),
            std::string::npos);
}

TEST(InteractionGraph, EdgesAreDroppedByDegreeWithoutReplacement) {
  const SparseMatrix ones = interaction_graph(world(), EdgeWeights::ones);
  const auto edges = static_cast<double>(ones.entries());
  std::map<std::pair<std::int32_t, std::int32_t>, int> stayed;
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    const SparseMatrix left = drop_edges(ones, 0.8, 7, draw);
    EXPECT_EQ(left.entries(), static_cast<std::int64_t>(std::floor(0.2 * edges)));
    const auto row = left.row_of_entries();
    for (std::size_t e = 0; e < row.size(); ++e) ++stayed[{row[e], left.column_of_entries()[e]}];
  }
  // Draws differ, repeat, and favour edges of small degrees: the product of share and root is about the same.
  EXPECT_NE(drop_edges(ones, 0.8, 7, 1).by_rows().index, drop_edges(ones, 0.8, 7, 2).by_rows().index);
  EXPECT_EQ(drop_edges(ones, 0.8, 7, 1).by_rows().index, drop_edges(ones, 0.8, 7, 1).by_rows().index);
  const auto row = ones.row_of_entries();
  double rare = 0, rare_edges = 0, common = 0, common_edges = 0;
  for (std::size_t e = 0; e < row.size(); ++e) {
    const double weight = static_cast<double>(graph().by_rows().value[e]);
    const int times = stayed[{row[e], ones.column_of_entries()[e]}];
    EXPECT_LE(times, 200);
    (weight > 0.11 ? rare : common) += times / weight;
    ++(weight > 0.11 ? rare_edges : common_edges);
  }
  ASSERT_GT(std::min(rare_edges, common_edges), 30);
  EXPECT_NEAR(rare / rare_edges / (common / common_edges), 1.0, 0.1);
  EXPECT_EQ(drop_edges(ones, 0.0, 7, 1).entries(), ones.entries());
  EXPECT_NE(message_of([&] { drop_edges(ones, 1.0, 7, 1); }).find("share 1"), std::string::npos);
}

TEST(LightGcn, IsTheMeanOfDenseSteps) {
  const Tensor users = random_f64({30, 5}, 1), items = random_f64({20, 5}, 2), block = dense(graph());
  const auto [u, i] = light_gcn(graph(), users, items, 3);
  Tensor layer_u = users, layer_i = items, sum_u = users.clone(), sum_i = items.clone();
  const auto add_to = [](Tensor& sum, const Tensor& x) {
    for (std::size_t k = 0; k < sum.values<double>().size(); ++k) sum.values<double>()[k] += x.values<double>()[k];
  };
  for (int l = 0; l < 3; ++l) {
    const Tensor next = matmul(block, layer_i);
    layer_i = matmul(block, layer_u, true);
    layer_u = next;
    add_to(sum_u, layer_u);
    add_to(sum_i, layer_i);
  }
  for (Tensor* sum : {&sum_u, &sum_i})
    for (double& value : sum->values<double>()) value /= 4.0;
  expect_near(u, sum_u, 1e-12);
  expect_near(i, sum_i, 1e-12);
  // Nothing reaches who has no edges: a quarter of his own vector is left.
  for (std::size_t d = 0; d < 5; ++d) {
    EXPECT_DOUBLE_EQ(u.values<double>()[4 * 5 + d], users.values<double>()[4 * 5 + d] / 4.0);
    EXPECT_DOUBLE_EQ(i.values<double>()[19 * 5 + d], items.values<double>()[19 * 5 + d] / 4.0);
  }
}

TEST(LightGcn, RowsAreThoseOfTheWhole) {
  const std::vector<std::int32_t> user_rows{4, 0, 29, 7}, item_rows{19, 3, 2};
  for (const int layers : {0, 1, 2, 3}) {
    const auto run = [&](bool whole) {
      Tape tape;
      const Tensor users = tape.watch(random_f64({30, 5}, 1)), items = tape.watch(random_f64({20, 5}, 2));
      auto [u, i] = whole ? light_gcn(graph(), users, items, layers)
                          : light_gcn_rows(graph(), users, items, layers, user_rows, item_rows);
      if (whole) u = gather_rows(u, user_rows), i = gather_rows(i, item_rows);
      const Tensor loss = half_squares({matmul(u, i, false, true)}, 1);
      tape.backward(loss);
      return std::vector<Tensor>{u, i, tape.gradient(users), tape.gradient(items)};
    };
    const auto rows = run(false), whole = run(true);
    for (std::size_t k = 0; k < rows.size(); ++k) expect_near(rows[k], whole[k], 1e-12);
  }
}

TEST(LightGcn, DistinctNumbersRise) {
  const std::vector<std::int32_t> numbers{5, 2, 5, 0};
  const Distinct out = distinct(numbers, 7);
  EXPECT_EQ(out.rows, (std::vector<std::int32_t>{0, 2, 5}));
  EXPECT_EQ(out.place, (std::vector<std::int32_t>{2, 1, 2, 0}));
  EXPECT_EQ(message_of([&] { distinct(numbers, 5); }), "distinct: 5, expected 0 .. 4");
}

TEST(KnnGraph, FindsTheNearestWithTiesToTheSmallerNumber) {
  // 700 items (more than one block) in three groups of equal vectors, and one vector of zeros.
  std::vector<float> values;
  for (int i = 0; i < 700; ++i)
    for (int d = 0; d < 40; ++d)
      values.push_back(i == 699 ? 0.0f : std::sin(static_cast<float>((i % 3 + 1) * (d + 1))) * (i < 300 ? 1.0f : 2.0f));
  const SparseMatrix near = knn_graph(Tensor::from(values, {700, 40}), 4, true);
  EXPECT_EQ(near.entries(), 2800);
  for (std::size_t i = 0; i < 699; ++i)
    for (std::size_t e = 4 * i; e < 4 * i + 4; ++e) {
      EXPECT_EQ(near.column_of_entries()[e], static_cast<std::int32_t>(i % 3 + 3 * (e - 4 * i))) << i;
      EXPECT_NEAR(near.by_rows().value[e], 1.0f, 1e-5f);
    }
  EXPECT_EQ(near.by_rows().value[2796], 0.0f);
  EXPECT_EQ(knn_graph(Tensor::from(values, {700, 40}), 4, false).by_rows().value[2796], 1.0f);
  EXPECT_EQ(knn_graph(Tensor::from<float>({1, 0, 0, 1}, {2, 2}), 10, false).entries(), 4);  // all there are
}

TEST(KnnGraph, EqualsADenseReference) {
  const Tensor x = random_f64({23, 7}, 3);
  const Tensor unit = l2_normalize(x), cosine = matmul(unit, unit, false, true);
  const SparseMatrix near = knn_graph(x.to(DType::f32), 5, true);
  for (std::size_t i = 0; i < 23; ++i) {
    std::vector<std::pair<double, std::int32_t>> order;
    for (std::int32_t j = 0; j < 23; ++j)
      order.emplace_back(-cosine.values<double>()[i * 23 + static_cast<std::size_t>(j)], j);
    std::sort(order.begin(), order.end());
    std::map<std::int32_t, double> expected;
    for (std::size_t n = 0; n < 5; ++n) expected[order[n].second] = -order[n].first;
    auto it = expected.begin();
    for (std::size_t e = 5 * i; e < 5 * i + 5; ++e, ++it) {
      EXPECT_EQ(near.column_of_entries()[e], it->first);
      EXPECT_NEAR(near.by_rows().value[e], it->second, 1e-6);
    }
  }
}

TEST(KnnGraph, NormalisesAndAddsUp) {
  const SparseMatrix a(3, 3, {0, 2, 3, 4}, {0, 1, 1, 2}, {1.0f, 3.0f, 1.0f, -2.0f});
  const Tensor normal = dense(symmetric_normalized(a));
  const std::vector<double> expected{0.25, 1.5, 0, 0, 1, 0, 0, 0, 0};  // sums 4, 1 and below zero
  for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(normal.values<double>()[i], expected[i], 1e-6);
  const SparseMatrix b(3, 3, {0, 1, 1, 1}, {1}, {2.0f});
  const SparseMatrix sum = weighted_sum({a, b}, {0.5, 2.0});
  EXPECT_EQ(sum.entries(), 4);
  EXPECT_NEAR(dense(sum).values<double>()[1], 0.5 * 3 + 2 * 2, 1e-6);
}

TEST(KnnGraph, SameForAnyThreads) {
  const Tensor x = random_f64({900, 33}, 3).to(DType::f32);
  EXPECT_TRUE(same_bits([&] {
    const SparseMatrix near = symmetric_normalized(knn_graph(x, 7, true));
    return sparse_matmul(near, x);
  }));
}

TEST(GraphLosses, ByHand) {
  const Tensor x = Tensor::from<double>({3, 4, 0, 0}, {2, 2}), zero = Tensor::zeros({2, 2}, DType::f64);
  EXPECT_DOUBLE_EQ(half_squares({x, x}, 5).item(), 5.0);
  EXPECT_DOUBLE_EQ(norms({x, x, zero}, 5).item(), 2.0);
  Tape tape;
  const Tensor leaf = tape.watch(zero);
  tape.backward(norms({leaf}, 1));
  for (const double value : tape.gradient(leaf).values<double>()) EXPECT_EQ(value, 0.0);
  TrainBatch batch;
  batch.histories.user = {1, 0};
  batch.target = {0, 1};
  EXPECT_NE(message_of([&] { batch_bpr(x, x, batch); }).find("has no negatives"), std::string::npos);
  batch.negative = {1, 1, 0, 0};
  // User 0 = (3, 4) with item 1 = 0 against item 0 = (3, 4): -25; user 1 is zero.
  EXPECT_NEAR(batch_bpr(x, x, batch).item(), (2 * std::log(2.0) + 2 * std::log1p(std::exp(25.0))) / 4, 1e-12);
}

TEST(GraphLossesGrad, Gradcheck) {
  EXPECT_LT(gradcheck(
                [](const auto& x) {
                  return norms({x[0], x[1]}, 3);
                },
                {random_f64({3, 4}, 1), random_f64({5, 4}, 2)}),
            1e-8);
  EXPECT_LT(gradcheck(
                [](const auto& x) {
                  return half_squares({x[0], x[1]}, 3);
                },
                {random_f64({3, 4}, 1), random_f64({5, 4}, 2)}),
            1e-8);
}

TEST(Contrastive, OneWayIsACrossEntropyOverTheOtherRows) {
  const Tensor a = l2_normalize(random_f64({6, 9}, 1)), b = l2_normalize(random_f64({11, 9}, 2));
  const std::vector<std::int32_t> answer{3, 3, 10, 0, 1, 7};
  Tensor logits = matmul(a, b, false, true);
  for (double& value : logits.values<double>()) value /= 0.2;
  EXPECT_NEAR(info_nce_one_way(a, b, 0.2, answer).item(), cross_entropy(logits, answer).item(), 1e-12);
  const std::vector<std::int32_t> own{0, 1, 2, 3, 4, 5};
  EXPECT_EQ(info_nce_one_way(a, b, 0.2).item(), info_nce_one_way(a, b, 0.2, own).item());
  EXPECT_NE(message_of([&] { info_nce_one_way(a, b, 0.2, std::vector<std::int32_t>{1}); }).find("1 answers for 6 rows"),
            std::string::npos);
}

TEST(ModalityFeatures, FillsWithTheMeanAndTrains) {
  Dataset data;
  data.name = "toys";
  data.features["text"] = features("text", {1, 2, 0, 0, 5, 6}, 3);
  data.features["text"].present[1] = 0;
  data.features["image"] = features("image", {1, 2, 3}, 3);
  auto all = modality_features(data, {}, true, Section::empty("model"));
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]->name(), "image");
  EXPECT_EQ(all[1]->width(), 2);
  EXPECT_EQ(all[1]->filled().values<float>()[2], 3.0f);
  EXPECT_EQ(all[1]->filled().values<float>()[3], 4.0f);
  all[1]->initialize(1, "model.text.");
  ASSERT_EQ(all[1]->parameters().size(), 1u);
  EXPECT_EQ(all[1]->parameters()[0].first, "features");
  EXPECT_EQ((*all[1])().values<float>()[3], 4.0f);
  const auto one = modality_features(data, {"text"}, false, Section::empty("model"));
  EXPECT_EQ(one.size(), 1u);
  EXPECT_TRUE(one[0]->parameters().empty());
  const auto refused = [&](const std::vector<std::string>& names) {
    return message_of([&] { modality_features(data, names, false, Section::parse("model", "modalities = []")); });
  };
  EXPECT_NE(refused({"audio"}).find("'audio' is not among the features of 'toys', which are image, text"),
            std::string::npos);
  EXPECT_NE(refused({"text", "text"}).find("'text' stands twice"), std::string::npos);
  data.features["text"].present.assign(3, 0);
  EXPECT_EQ(refused({"text"}), "features: no item has the modality 'text'");
  data.features.clear();
  EXPECT_NE(refused({}).find("reads features of items, but 'toys' has none"), std::string::npos);
}

}  // namespace tessera
