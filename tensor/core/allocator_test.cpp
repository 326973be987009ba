#include "tensor/core/allocator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "tensor/core/testing.h"

namespace tessera {
namespace {

std::uint64_t system_allocations() { return allocator_stats().system_allocations; }

}  // namespace

TEST(Allocator, BlocksAreAlignedAndWritable) {
  for (const std::size_t bytes : {0, 1, 63, 64, 65, 257, 4097, 1'000'003}) {
    void* block = allocate(bytes, Device::cpu());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0u);
    std::memset(block, 1, bytes);
    release(block, bytes, Device::cpu());
  }
}

TEST(Allocator, FreedBlocksAreHandedOutAgain) {
  void* block = allocate(100'000, Device::cpu());
  release(block, 100'000, Device::cpu());
  const auto before = system_allocations();
  void* again = allocate(99'900, Device::cpu());  // of the same size class
  EXPECT_EQ(again, block);
  EXPECT_EQ(system_allocations(), before);
  release(again, 99'900, Device::cpu());
}

TEST(Allocator, CountsWhatIsInUse) {
  const AllocatorStats before = allocator_stats();
  {
    const Tensor x({1000, 1000});
    const AllocatorStats during = allocator_stats();
    EXPECT_GE(during.in_use, before.in_use + x.bytes());
    EXPECT_LE(during.in_use, before.in_use + x.bytes() + x.bytes() / 8);
    EXPECT_GE(during.peak_in_use, during.in_use);
    EXPECT_GE(during.reserved, during.in_use);
  }
  EXPECT_EQ(allocator_stats().in_use, before.in_use);
}

TEST(Allocator, PeakIsKeptUntilItIsReset) {
  reset_peak();
  const std::size_t base = allocator_stats().peak_in_use;
  EXPECT_EQ(base, allocator_stats().in_use);
  { const Tensor x({300, 1000}); }
  EXPECT_GE(allocator_stats().peak_in_use, base + 1'200'000);
  reset_peak();
  EXPECT_EQ(allocator_stats().peak_in_use, base);
}

TEST(Allocator, TrimGivesUnusedBlocksBack) {
  { const Tensor x({1000, 1000}); }
  EXPECT_GE(allocator_stats().reserved, 4'000'000u);
  trim();
  const AllocatorStats stats = allocator_stats();
  EXPECT_EQ(stats.reserved, stats.in_use);
}

TEST(Allocator, SteadyStepsAskTheSystemForNothing) {
  const auto step = [] {
    std::vector<Tensor> kept;
    for (int i = 1; i <= 20; ++i) kept.emplace_back(Shape{i * 37, 64});
  };
  step();
  const auto before = system_allocations();
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(system_allocations(), before);
}

TEST(Allocator, ThreadSafe) {
  const AllocatorStats before = allocator_stats();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < 500; ++i) {
        const Tensor x = Tensor::full({i % 50 + 1}, t);
        for (const float value : x.values<float>()) ASSERT_EQ(value, static_cast<float>(t));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(allocator_stats().in_use, before.in_use);
}

TEST(Allocator, OutOfMemoryIsASentence) {
#ifdef TESSERA_SANITIZED
  GTEST_SKIP() << "sanitizers abort where the system would say no";
#endif
  const std::string text = message_of([] { allocate(std::size_t{1} << 60, Device::cpu()); });
  EXPECT_TRUE(text.starts_with("out of memory on cpu: asked for 1152921504606846976 bytes")) << text;
  EXPECT_TRUE(text.ends_with("use a smaller batch")) << text;
}

}  // namespace tessera
