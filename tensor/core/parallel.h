#pragma once

#include <cstdint>
#include <type_traits>

#include "tensor/core/export.h"

namespace tessera {

// Work is cut into tiles whose number and size depend on shapes alone; a tile is computed by one thread in a fixed
// order. So results are the same bits for any number of threads. Reductions write one partial result a tile and combine
// them afterwards in tile order (or a fixed tree).
TESSERA_API void set_threads(int threads);  // 1 or more; throws Error otherwise. Not while work runs
TESSERA_API int threads();

namespace detail {
using TileFunction = void (*)(void* context, std::int64_t tile);
TESSERA_API void run_tiles(std::int64_t tiles, TileFunction function, void* context);
}  // namespace detail

// parallel_for(tiles, [&](std::int64_t tile) { ... }): each tile once, in any order, on any thread; returns when all
// are done. The first exception of a tile is rethrown here. A nested call runs in its caller's thread.
template <class F>
void parallel_for(std::int64_t tiles, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::run_tiles(
      tiles, [](void* context, std::int64_t tile) { (*static_cast<Function*>(context))(tile); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// parallel_rows(rows, 256, [&](std::int64_t begin, std::int64_t end) { ... }): tiles of `grain` rows.
template <class F>
void parallel_rows(std::int64_t rows, std::int64_t grain, F&& f) {
  const std::int64_t tiles = (rows + grain - 1) / grain;
  parallel_for(tiles, [&](std::int64_t tile) {
    const std::int64_t begin = tile * grain;
    f(begin, begin + grain < rows ? begin + grain : rows);
  });
}

}  // namespace tessera
