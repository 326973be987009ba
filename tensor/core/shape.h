#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "tensor/core/export.h"

namespace tessera {

// Sizes of a dense row-major tensor, up to four dimensions. A scalar has rank 0 and one element.
class TESSERA_API Shape {
 public:
  static constexpr int kMaxRank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes);  // throws Error on a negative size or a rank above 4

  int rank() const { return rank_; }
  std::int64_t dim(int axis) const;  // a negative axis counts from the end; throws Error when out of range
  std::int64_t numel() const;
  // (rows, columns) with everything but the last dimension folded into rows. A scalar is (1, 1).
  std::int64_t rows() const { return columns() == 0 ? 0 : numel() / columns(); }
  std::int64_t columns() const { return rank_ == 0 ? 1 : sizes_[static_cast<std::size_t>(rank_ - 1)]; }
  std::string text() const;  // "(32, 64)"
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace tessera
