#include "tensor/ops/embedding/embedding.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

std::vector<std::int32_t> random_ids(std::size_t n, std::int64_t bound, std::uint64_t seed) {  // -1 among them
  Random random(seed, 1);
  std::vector<std::int32_t> ids(n);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(bound + 1)) - 1;
  return ids;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST(Embedding, GoldenValues) {
  const Tensor table = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  const std::vector<std::int32_t> ids = {2, -1, 0, 2};
  const Tensor y = embedding(table, ids);
  EXPECT_EQ(y.shape(), (Shape{4, 2}));
  const std::vector<float> expected = {5, 6, 0, 0, 1, 2, 5, 6};
  EXPECT_EQ(std::vector<float>(y.values<float>().begin(), y.values<float>().end()), expected);
  const Tensor sum = embedding_sum(table, ids, 2, 0.5);
  const std::vector<float> halves = {2.5f, 3, 3, 4};
  EXPECT_EQ(std::vector<float>(sum.values<float>().begin(), sum.values<float>().end()), halves);
}

TEST(Embedding, GradientAddsRepeatedRowsAndKeepsWhatWasThere) {
  const Tensor table = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {3, 2});
  const std::vector<std::int32_t> ids = {2, -1, 0, 2};
  const Tensor seed = Tensor::from<double>({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2});
  Parameter parameter("table", table.clone());
  for (int round = 1; round <= 2; ++round) {
    Tape tape;
    tape.backward(embedding(parameter(), ids), seed);
    const std::vector<double> once = {5, 6, 0, 0, 8, 10};
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_EQ(parameter.gradient.values<double>()[i], round * once[i]);
  }
}

TEST(EmbeddingGrad, Gradcheck) {
  const auto ids = random_ids(30, 7, 3);
  EXPECT_LT(gradcheck([&](const auto& x) { return embedding(x[0], ids); }, {random_f64({7, 5}, 1)}), 1e-8);
  EXPECT_LT(gradcheck([&](const auto& x) { return embedding_sum(x[0], ids, 3, 0.7); }, {random_f64({7, 13}, 2)}), 1e-8);
  EXPECT_LT(gradcheck([&](const auto& x) { return gather_rows(x[0], ids); }, {random_f64({7, 1}, 3)}), 1e-8);
}

TEST(Embedding, SameBytesForAnyNumberOfThreads) {
  const auto ids = random_ids(5000, 211, 5);
  std::vector<float> first;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    Tape tape;
    Tensor table({211, 37});
    fill_normal(table, 0, 1, 1, 1);
    table = tape.watch(table);
    Tensor seed({2500, 37});
    fill_normal(seed, 0, 1, 1, 2);
    tape.backward(embedding_sum(table, ids, 2, 0.3), seed);
    const auto gradient = tape.gradient(table).values<float>();
    if (first.empty()) first.assign(gradient.begin(), gradient.end());
    EXPECT_EQ(std::memcmp(first.data(), gradient.data(), gradient.size_bytes()), 0) << n << " threads";
  }
}

TEST(Embedding, NoIdsGiveNoRows) { EXPECT_EQ(embedding(Tensor({3, 2}), {}).shape(), (Shape{0, 2})); }

TEST(Embedding, Refusals) {
  const Tensor table({3, 2});
  const std::vector<std::int32_t> large = {0, 3}, small = {-2};
  EXPECT_EQ(message_of([&] { embedding(table, large); }),
            "embedding: id 3 at position 1, expected -1 (none) to 2 for 3 rows");
  EXPECT_EQ(message_of([&] { gather_rows(table, small); }),
            "gather_rows: id -2 at position 0, expected -1 (none) to 2 for 3 rows");
  EXPECT_EQ(message_of([&] {
              embedding_sum(table, std::vector<std::int32_t>{0, 1, 2}, 2);
            }),
            "embedding_sum: 3 ids are not rows of 2 levels");
  EXPECT_EQ(message_of([&] { embedding(Tensor({3}), large); }), "embedding: table (3), expected (rows, width)");
}

}  // namespace tessera
