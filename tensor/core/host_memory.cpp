#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "tensor/core/system_memory.h"

namespace tessera {

void* host_allocate(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  if (bytes < kHugePage) return std::aligned_alloc(64, bytes);
  void* block = std::aligned_alloc(kHugePage, bytes);
#if defined(MADV_HUGEPAGE)
  if (block != nullptr)
    madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // advice: a refusal changes nothing
#endif
  return block;
}

void host_release(void* block) { std::free(block); }

}  // namespace tessera
