#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "tensor/core/system_memory.h"

namespace tessera {

void* host_allocate(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  void* block = nullptr;
  if (posix_memalign(&block, bytes < kHugePage ? 64 : kHugePage, bytes) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  // Advice alone: a refusal changes nothing.
  if (bytes >= kHugePage) madvise(block, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}

void host_release(void* block) { std::free(block); }

}  // namespace tessera
