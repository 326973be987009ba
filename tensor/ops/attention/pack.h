#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#include "tensor/core/simd.h"
#include "tensor/ops/attention/positions.h"
#include "tensor/ops/attention/product.h"

// One head of one sequence, gathered into contiguous blocks: rows padded with zeros to whole vectors, or transposed.
namespace tessera::cpu {

// Scratch of one thread: grows, is never given back before the thread ends, is not initialised. On cache lines.
template <class T>
class Buffer {
 public:
  T* take(std::int64_t n) {
    if (n > size_) {
      data_.reset(static_cast<T*>(::operator new(static_cast<std::size_t>(n) * sizeof(T), kLine)));
      size_ = n;
    }
    return data_.get();
  }

 private:
  static constexpr std::align_val_t kLine{64};
  struct Free {
    void operator()(T* data) const { ::operator delete(data, kLine); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t size_ = 0;
};

template <class T>
inline void copy_scaled(const T* from, std::int64_t n, T factor, T* to) {
  std::int64_t d = 0;
  for (; d + simd::kLanes<T> <= n; d += simd::kLanes<T>) simd::store(to + d, simd::load(from + d) * factor);
  for (; d < n; ++d) to[d] = from[d] * factor;
}

// to (n, padded(width)) = factor * rows of from, turned to positions first, first + 1, ... where there is a rope (rows
// before position 0 see no key; they are turned to 0), and zeros beside them.
template <class T>
void pack_rows(const T* from, std::int64_t ld, std::int64_t n, std::int64_t width, T factor, const RotaryTable<T>* rope,
               std::int64_t first, T* to) {
  const std::int64_t ld_to = padded<T>(width);
  for (std::int64_t i = 0; i < n; ++i, from += ld, to += ld_to) {
    if (rope) rope->turn(from, std::max<std::int64_t>(0, first + i), false, factor, to);
    else copy_scaled(from, width, factor, to);
    for (std::int64_t d = width; d < ld_to; ++d) to[d] = T{0};
  }
}

// The same with zeros below: to (padded(n), padded(width)).
template <class T>
void pack_block(const T* from, std::int64_t ld, std::int64_t n, std::int64_t width, T factor,
                const RotaryTable<T>* rope, std::int64_t first, T* to) {
  pack_rows(from, ld, n, width, factor, rope, first, to);
  for (std::int64_t at = n * padded<T>(width); at < padded<T>(n) * padded<T>(width); at += simd::kLanes<T>)
    simd::store(to + at, simd::Vec<T>{});
}

// to (width, padded(n)) = the transpose of a packed block.
template <class T>
void transpose_block(const T* from, std::int64_t n, std::int64_t width, T* to) {
  constexpr int kLanes = simd::kLanes<T>;
  const std::int64_t ld = padded<T>(width), ld_to = padded<T>(n);
  for (std::int64_t i = 0; i < n; i += kLanes)
    for (std::int64_t d = 0; d < width; d += kLanes) {
      simd::Vec<T> block[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) block[r] = simd::load(from + (i + r) * ld + d);
      simd::transpose<T>(block);
      T* at = to + d * ld_to + i;
      if (d + kLanes <= width) {
#pragma GCC unroll 16
        for (int c = 0; c < kLanes; ++c) simd::store(at + c * ld_to, block[c]);
      } else {
        for (std::int64_t c = 0; c < width - d; ++c) simd::store(at + c * ld_to, block[c]);
      }
    }
}

// Rows of to (n, width) with stride ld = factor * packed rows, turned back.
template <class T>
void unpack_rows(const T* from, std::int64_t n, std::int64_t width, T factor, const RotaryTable<T>* rope,
                 std::int64_t first, T* to, std::int64_t ld) {
  const std::int64_t ld_from = padded<T>(width);
  for (std::int64_t i = 0; i < n; ++i, from += ld_from, to += ld) {
    if (rope) rope->turn(from, std::max<std::int64_t>(0, first + i), true, factor, to);
    else copy_scaled(from, width, factor, to);
  }
}

}  // namespace tessera::cpu
