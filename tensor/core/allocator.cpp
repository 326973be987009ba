#include "tensor/core/allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/core/system_memory.h"

namespace tessera {
namespace {

// Sizes in eighths of a power of two: at most 12.5 % of a block is unused.
std::size_t size_class(std::size_t bytes) {
  if (bytes <= 256) return (std::max<std::size_t>(bytes, 1) + 63) / 64 * 64;
  const std::size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

struct Pool {
  std::mutex mutex;
  std::map<std::size_t, std::vector<void*>> free;  // by size class
  AllocatorStats stats;
};

Pool& pool_of(Device device) {
  // Leaked on purpose: tensors in static storage may outlive every destructor.
  static auto& cpu = *new Pool;
  static auto& cuda = *new std::map<int, Pool>;
  if (device.is_cpu()) return cpu;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  return cuda[device.index];
}

void drop_free_blocks(Pool& pool, Device device) {
  for (auto& [size, blocks] : pool.free)
    for (void* block : blocks) {
      system_release(block, size, device);
      pool.stats.reserved -= size;
    }
  pool.free.clear();
}

void* take_free(Pool& pool, std::size_t size) {
  const auto it = pool.free.find(size);
  if (it == pool.free.end() || it->second.empty()) return nullptr;
  void* block = it->second.back();
  it->second.pop_back();
  return block;
}

}  // namespace

void* allocate(std::size_t bytes, Device device) {
  const std::size_t size = size_class(bytes);
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  void* block = take_free(pool, size);
  if (block == nullptr) {
    block = system_allocate(size, device);
    if (block == nullptr) {  // the pool may hold what is missing, in other sizes
      drop_free_blocks(pool, device);
      block = system_allocate(size, device);
    }
    check(block != nullptr, "out of memory on ", device.text(), ": asked for ", size, " bytes, ", pool.stats.in_use,
          " in use; use a smaller batch");
    ++pool.stats.system_allocations;
    pool.stats.reserved += size;
  }
  pool.stats.in_use += size;
  pool.stats.peak_in_use = std::max(pool.stats.peak_in_use, pool.stats.in_use);
  return block;
}

void release(void* block, std::size_t bytes, Device device) noexcept {
  const std::size_t size = size_class(bytes);
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  pool.stats.in_use -= size;
  pool.free[size].push_back(block);
}

AllocatorStats allocator_stats(Device device) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  return pool.stats;
}

void reset_peak(Device device) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  pool.stats.peak_in_use = pool.stats.in_use;
}

void trim(Device device) {
  Pool& pool = pool_of(device);
  std::lock_guard lock(pool.mutex);
  drop_free_blocks(pool, device);
}

}  // namespace tessera
