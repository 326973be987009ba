#include "tensor/core/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tensor/core/error.h"

namespace tessera {
namespace {

thread_local bool inside_tile = false;

// Threads that are made while it lives take no signals. oneDNN's matrix products point the stack pointer at a buffer on
// the heap, so a handler's frame must not be written there; the main thread's handlers have a stack of their own.
class NoSignals {
 public:
  NoSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

// One job at a time; tiles are handed out by a counter, so a slow thread does not hold the others.
class Pool {
 public:
  explicit Pool(int threads) {
    const NoSignals none;
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(std::int64_t tiles, detail::TileFunction function, void* context) {
    std::lock_guard one_job(job_mutex_);
    {
      std::lock_guard lock(mutex_);
      function_ = function;
      context_ = context;
      tiles_ = tiles;
      next_.store(0);
      busy_.store(static_cast<int>(workers_.size()));
      generation_.fetch_add(1);
    }
    wake_.notify_all();
    take_tiles();
    wait_for_workers();
    if (auto error = std::exchange(error_, nullptr)) std::rethrow_exception(error);
  }

 private:
  static constexpr int kSpins = 2000;  // a few microseconds: jobs of one step follow each other closely

  void take_tiles() {
    inside_tile = true;
    for (std::int64_t tile; (tile = next_.fetch_add(1)) < tiles_;) {
      try {
        function_(context_, tile);
      } catch (...) {
        std::lock_guard lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_.store(tiles_);
      }
    }
    inside_tile = false;
  }

  void wait_for_workers() {
    for (int i = 0; i < kSpins && busy_.load() > 0; ++i) pause();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_.load() == 0; });
  }

  void work() {
    std::uint64_t seen = 0;
    while (true) {
      for (int i = 0; i < kSpins && generation_.load() == seen; ++i) pause();
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        seen = generation_.load();
        if (stop_) return;
      }
      take_tiles();
      std::lock_guard lock(mutex_);
      if (busy_.fetch_sub(1) == 1) done_.notify_one();
    }
  }

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  std::vector<std::thread> workers_;
  std::mutex job_mutex_, mutex_;
  std::condition_variable wake_, done_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<std::int64_t> next_{0};
  std::atomic<int> busy_{0};
  detail::TileFunction function_ = nullptr;
  void* context_ = nullptr;
  std::int64_t tiles_ = 0;
  std::exception_ptr error_;
  bool stop_ = false;
};

std::mutex pool_mutex;

std::shared_ptr<Pool>& pool() {
  static std::shared_ptr<Pool> instance =
      std::make_shared<Pool>(std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  return instance;
}

std::shared_ptr<Pool> current_pool() {
  std::lock_guard lock(pool_mutex);
  return pool();
}

}  // namespace

void set_threads(int threads) {
  check(threads >= 1, "threads: ", threads, ", expected 1 or more");
  std::lock_guard lock(pool_mutex);
  if (pool()->threads() != threads) pool() = std::make_shared<Pool>(threads);
}

int threads() { return current_pool()->threads(); }

void detail::run_tiles(std::int64_t tiles, TileFunction function, void* context) {
  if (tiles <= 0) return;
  if (tiles == 1 || inside_tile) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) function(context, tile);
    return;
  }
  const auto instance = current_pool();
  if (instance->threads() == 1) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) function(context, tile);
    return;
  }
  instance->run(tiles, function, context);
}

}  // namespace tessera
