#include "tensor/core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tensor/core/testing.h"

namespace tessera {

// The known answers that Random123 publishes for philox4x32-10. counter: the low two words, stream: the high two.
TEST(Random, PhiloxKnownAnswers) {
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, AReaderIsAFunctionOfItsKey) {
  Random a(1, 2), b(1, 2), other_seed(2, 2), other_stream(1, 3);
  const auto first = a.bits64();
  EXPECT_EQ(first, b.bits64());
  EXPECT_NE(first, other_seed.bits64());
  EXPECT_NE(first, other_stream.bits64());
}

TEST(Random, Moments) {
  Random random(7, 0);
  constexpr int kCount = 100'000;
  double uniform = 0, normal = 0, square = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = random.uniform(), z = random.normal();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    uniform += u;
    normal += z;
    square += z * z;
  }
  EXPECT_NEAR(uniform / kCount, 0.5, 0.005);
  EXPECT_NEAR(normal / kCount, 0.0, 0.02);
  EXPECT_NEAR(square / kCount, 1.0, 0.03);
}

TEST(Random, BelowIsEven) {
  Random random(3, 0);
  std::vector<int> seen(7);
  for (int i = 0; i < 70'000; ++i) ++seen[static_cast<std::size_t>(random.below(7))];
  for (const int times : seen) EXPECT_NEAR(times, 10'000, 500);
  EXPECT_EQ(random.below(1), 0);
  EXPECT_EQ(message_of([&] { random.below(0); }), "random: bound 0, expected 1 or more");
}

TEST(Random, ShuffleIsAPermutation) {
  std::vector<int> values(100), sorted;
  std::iota(values.begin(), values.end(), 0);
  Random(5, 0).shuffle(std::span(values));
  EXPECT_FALSE(std::is_sorted(values.begin(), values.end()));
  sorted = values;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(sorted[static_cast<std::size_t>(i)], i);
}

TEST(Random, FillsDoNotDependOnThreadsOrType) {
  const auto normal = [](DType type) {
    Tensor x({20'001}, type);
    fill_normal(x, 1.0, 2.0, 11, stream_of("w"));
    return x;
  };
  EXPECT_TRUE(same_bits([&] { return normal(DType::f32); }));
  const Tensor single = normal(DType::f32), rounded = normal(DType::f64).to(DType::f32);
  for (std::int64_t i = 0; i < single.numel(); ++i) ASSERT_EQ(single.data<float>()[i], rounded.data<float>()[i]);
  Tensor uniform({1001}, DType::f64);
  fill_uniform(uniform, -2.0, 3.0, 11, 1);
  for (const double value : uniform.values<double>()) {
    ASSERT_GE(value, -2.0);
    ASSERT_LT(value, 3.0);
  }
}

TEST(Random, StreamsOfNames) {
  EXPECT_EQ(stream_of(""), 0xcbf29ce484222325ull);  // FNV-1a's published values
  EXPECT_EQ(stream_of("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(stream_of("foobar"), 0x85944171f73967e8ull);
}

TEST(TrainingScope, NestsAndNumbersItsCalls) {
  EXPECT_EQ(TrainingScope::current(), nullptr);
  std::uint64_t first = 0;
  {
    TrainingScope scope(1, 2);
    EXPECT_EQ(TrainingScope::current(), &scope);
    first = scope.next_stream();
    EXPECT_NE(first, scope.next_stream());
    {
      TrainingScope inner(1, 3);
      EXPECT_EQ(TrainingScope::current(), &inner);
    }
    EXPECT_EQ(TrainingScope::current(), &scope);
  }
  EXPECT_EQ(TrainingScope::current(), nullptr);
  EXPECT_EQ(TrainingScope(1, 2).next_stream(), first);
  EXPECT_NE(TrainingScope(1, 3).next_stream(), first);
}

}  // namespace tessera
