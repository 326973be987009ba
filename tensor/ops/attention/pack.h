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

// to (n, padded(width)) = factor * rows of from, turned to positions first, first + 1, ... where there is a rope. Rows before position
// 0 (they see no key) stay as they are.
template <class T>
void pack_rows(const T* from, std::int64_t ld, std::int64_t n, std::int64_t width, T factor, const RotaryTable<T>* rope,
               std::int64_t first, T* to) {
  const std::int64_t ld_to = padded<T>(width);
  for (std::int64_t i = 0; i < n; ++i, from += ld, to += ld_to) {
    if (rope)
      rope->turn(from, std::max<std::int64_t>(0, first + i), false, to);
    else
      std::copy_n(from, width, to);
    if (factor != T{1})
      for (std::int64_t d = 0; d < width; ++d) to[d] *= factor;
    std::fill(to + width, to + ld_to, T{0});
  }
}

// to (width, padded(n)) = factor * transposed rows of from.
template <class T>
void pack_transposed(const T* from, std::int64_t ld, std::int64_t n, std::int64_t width, T factor, T* to) {
  constexpr int kLanes = simd::kLanes<T>;
  const std::int64_t ld_to = padded<T>(n);
  for (std::int64_t i = 0; i < n; i += kLanes)
    for (std::int64_t d = 0; d < width; d += kLanes) {
      simd::Vec<T> block[kLanes];
      const std::int64_t rows = std::min<std::int64_t>(kLanes, n - i), columns = std::min<std::int64_t>(kLanes, width - d);
      const T* at = from + i * ld + d;
      for (int r = 0; r < kLanes; ++r, at += ld)
        block[r] = r >= rows ? simd::Vec<T>{} : columns == kLanes ? simd::load(at) : simd::load_part(at, columns);
      simd::transpose<T>(block);
      for (int c = 0; c < columns; ++c) simd::store(to + (d + c) * ld_to + i, block[c] * factor);
    }
}

// Rows of to (n, width) with stride ld = factor * packed rows, turned back.
template <class T>
void unpack_rows(const T* from, std::int64_t n, std::int64_t width, T factor, const RotaryTable<T>* rope, std::int64_t first, T* to,
                 std::int64_t ld) {
  const std::int64_t ld_from = padded<T>(width);
  for (std::int64_t i = 0; i < n; ++i, from += ld_from, to += ld) {
    if (rope)
      rope->turn(from, std::max<std::int64_t>(0, first + i), true, to);
    else
      std::copy_n(from, width, to);
    if (factor != T{1})
      for (std::int64_t d = 0; d < width; ++d) to[d] *= factor;
  }
}

}  // namespace tessera::cpu
