#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"

// What attention knows of positions: rotations (RoPE) and the relative bias, as tables by position and by distance.
namespace tessera::cpu {

// cos and sin of position * base^(-2i/width), i < width/2. Shared and kept between calls.
template <class T>
struct RotaryTable {
  std::int64_t half = 0, positions = 0;
  std::vector<T> cosine, sine;  // (positions, half)

  // to = factor * one head of one row, turned forward or back.
  void turn(const T* from, std::int64_t position, bool back, T factor, T* to) const;
};

// Empty for base 0. Otherwise at least `positions` rows.
template <class T>
std::shared_ptr<const RotaryTable<T>> rotary_table(double base, std::int64_t width, std::int64_t positions);

// bias(h, distance) for low <= distance <= high as rows of contiguous numbers, so that a row of scores adds a piece of
// it; room for a vector beyond both ends.
class DistanceTable {
 public:
  DistanceTable() = default;
  DistanceTable(std::int64_t low, std::int64_t high, int heads, int buckets, bool bidirectional, int max_distance);

  explicit operator bool() const { return heads_ > 0; }
  std::int64_t width() const { return width_; }                                     // of one head's row
  std::int64_t at(std::int64_t distance) const { return distance - low_ + kRoom; }  // place in it
  int buckets() const { return buckets_; }
  int heads() const { return heads_; }

  template <class T>
  std::vector<T> spread(const Tensor& bias) const;  // (buckets, H) -> (H, width)
  template <class T>
  void collect(const T* by_distance, int head, T* by_bucket) const;  // adds one head's row onto (buckets, H)

 private:
  static constexpr std::int64_t kRoom = 16;
  std::int64_t low_ = 0, width_ = 0;
  int heads_ = 0, buckets_ = 0;
  std::vector<std::int32_t> bucket_;  // of each place
};

}  // namespace tessera::cpu
