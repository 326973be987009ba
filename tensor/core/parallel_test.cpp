#include "tensor/core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tensor/core/testing.h"

namespace tessera {
namespace {

// Sets the number of threads for one test.
class WithThreads {
 public:
  explicit WithThreads(int count) : before_(threads()) { set_threads(count); }
  ~WithThreads() { set_threads(before_); }

 private:
  int before_;
};

}  // namespace

TEST(Parallel, EachTileOnce) {
  for (const int count : {1, 2, 3, 7}) {
    const WithThreads scope(count);
    EXPECT_EQ(threads(), count);
    std::vector<std::atomic<int>> seen(1000);
    parallel_for(1000, [&](std::int64_t tile) { ++seen[static_cast<std::size_t>(tile)]; });
    for (const auto& times : seen) EXPECT_EQ(times, 1);
    parallel_for(0, [](std::int64_t) { FAIL(); });
  }
}

TEST(Parallel, RowsCoverTheRange) {
  const WithThreads scope(3);
  for (const std::int64_t rows : {0, 1, 9, 10, 11, 95}) {
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(rows));
    parallel_rows(rows, 10, [&](std::int64_t begin, std::int64_t end) {
      EXPECT_EQ(begin % 10, 0);
      EXPECT_LE(end - begin, 10);
      for (auto i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    for (const auto& times : seen) EXPECT_EQ(times, 1);
  }
}

TEST(Parallel, UsesSeveralThreads) {
  const WithThreads scope(2);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  for (int attempt = 0; attempt < 100 && ids.size() < 2; ++attempt)
    parallel_for(2, [&](std::int64_t) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
  EXPECT_EQ(ids.size(), 2u);
}

TEST(Parallel, NestedCallsRunInTheirCallersThread) {
  const WithThreads scope(3);
  std::atomic<int> total = 0, elsewhere = 0;
  parallel_for(8, [&](std::int64_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(8, [&](std::int64_t) {
      ++total;
      if (std::this_thread::get_id() != self) ++elsewhere;
    });
  });
  EXPECT_EQ(total, 64);
  EXPECT_EQ(elsewhere, 0);
}

TEST(Parallel, TheFirstExceptionArrivesAndWorkGoesOn) {
  for (const int count : {1, 3}) {
    const WithThreads scope(count);
    for (int attempt = 0; attempt < 20; ++attempt) {
      EXPECT_THROW(parallel_for(100,
                                [](std::int64_t tile) {
                                  if (tile == 37) throw std::runtime_error("37");
                                }),
                   std::runtime_error);
      std::atomic<int> total = 0;
      parallel_for(100, [&](std::int64_t) { ++total; });
      EXPECT_EQ(total, 100);
    }
  }
}

TEST(Parallel, AnExceptionOfANestedCallArrives) {
  const WithThreads scope(2);
  EXPECT_THROW(parallel_for(4,
                            [](std::int64_t) {
                              parallel_for(4, [](std::int64_t i) {
                                if (i == 3) throw Error("inner");
                              });
                            }),
               Error);
}

TEST(Parallel, ManyCallersAtOnce) {
  const WithThreads scope(2);
  std::atomic<int> total = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i)
    callers.emplace_back([&] {
      for (int j = 0; j < 200; ++j) parallel_for(5, [&](std::int64_t) { ++total; });
    });
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 200 * 5);
}

TEST(Parallel, RefusesNoThreads) {
  EXPECT_EQ(message_of([] { set_threads(0); }), "threads: 0, expected 1 or more");
}

}  // namespace tessera
