#include <gtest/gtest.h>

#include <cstring>

#include "tensor/autograd/gpucheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t rows) {  // -1 among them, and many repeats
  Random random(5, 0);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(random.below(rows + 1) - 1));
  return ids;
}

}  // namespace

TEST(EmbeddingGpu, EqualsTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const auto ids = random_ids(300, 17);
  const Tensor table = random_f64({17, 13}, 1);
  EXPECT_LT(gpucheck([&](const auto& x) { return embedding(x[0], ids); }, {table}), 1e-5);
  EXPECT_LT(gpucheck([&](const auto& x) { return embedding_sum(x[0], ids, 3, 0.5); }, {table}), 1e-5);
  EXPECT_LT(
      gpucheck([&](const auto& x) { return gather_rows(gather_rows(x[0], ids), ids); }, {random_f64({300, 5}, 2)}),
      1e-5);
}

TEST(EmbeddingGpu, ScatterRepeatsItsBits) {
  if (cuda_device_count() == 0) GTEST_SKIP() << kNoGpu;
  const auto ids = random_ids(5000, 7);
  const Tensor table = random_f64({7, 33}, 1).to(DType::f32).to(Device::cuda());
  const Tensor dy = random_f64({5000, 33}, 2).to(DType::f32).to(Device::cuda());
  const auto gradient = [&] {
    Tape tape;
    const Tensor leaf = tape.watch(table);
    tape.backward(embedding(leaf, ids), dy);
    return tape.gradient(leaf).to(Device::cpu());
  };
  const Tensor first = gradient(), second = gradient();
  EXPECT_EQ(std::memcmp(first.raw(), second.raw(), first.bytes()), 0);
}

}  // namespace tessera
