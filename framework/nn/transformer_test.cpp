#include "framework/nn/transformer.h"

#include <gtest/gtest.h>

#include "tensor/core/random.h"

namespace tessera {
namespace {

Tensor random_rows(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  Tensor x({rows, columns}, DType::f64);
  Random random(seed, stream_of("transformer_test"));
  for (double& value : x.values<double>()) value = random.normal();
  return x;
}

}  // namespace

// cross_attend() adds a linear image of sum_j w_j v_j. With one vector v of one head as the value of key j alone it
// grows by w_j times what it grows by with v at every key: so the weights that it used can be read from its results.
TEST(Transformer, WeightsOnTheMemoryAreThoseThatCrossAttentionUses) {
  TransformerOptions options;
  options.width = 8;
  options.heads = 2;
  options.head_width = 3;
  options.ffn = 8;
  options.cross = true;
  options.deviation = 0.7;
  TransformerBlock block(options);
  block.initialize(5, "block.");
  for (auto& [name, parameter] : block.parameters()) parameter->value = parameter->value.to(DType::f64);
  const std::vector<std::int64_t> offset{0, 2, 3, 5}, memory_offset{0, 4, 4, 9};  // the second has no memory
  const Tensor x = random_rows(5, 8, 1), key = random_rows(9, 6, 2);
  std::vector<std::vector<double>> weight;
  block.weigh_memory(x, offset, key, memory_offset, 0.5, weight);
  block.weigh_memory(x, offset, key, memory_offset, 0.5, weight);  // adds up to a whole
  ASSERT_EQ(weight.size(), 5u);
  EXPECT_TRUE(weight[2].empty());
  const auto grown = [&](int head, std::int64_t only) {  // only: one key, or -1: all
    Tensor value = Tensor::zeros({9, 6}, DType::f64);
    for (std::int64_t j = 0; j < 9; ++j)
      if (only < 0 || j == only) value.values<double>()[static_cast<std::size_t>(j * 6 + head * 3 + 1)] = 1.0;
    return block.cross_attend(x, offset, key, value, memory_offset);
  };
  const Tensor nothing = block.cross_attend(x, offset, key, Tensor::zeros({9, 6}, DType::f64), memory_offset);
  for (std::size_t b = 0; b < 3; ++b)
    for (std::int64_t i = offset[b]; i < offset[b + 1]; ++i)
      for (std::int64_t j = memory_offset[b]; j < memory_offset[b + 1]; ++j) {
        double mean = 0.0;
        for (int head = 0; head < 2; ++head) {
          const auto at = static_cast<std::size_t>(i * 8);
          const double base = nothing.values<double>()[at];
          mean += 0.5 * (grown(head, j).values<double>()[at] - base) / (grown(head, -1).values<double>()[at] - base);
        }
        EXPECT_NEAR(weight[static_cast<std::size_t>(i)][static_cast<std::size_t>(j - memory_offset[b])], mean, 1e-9);
      }
}

}  // namespace tessera
