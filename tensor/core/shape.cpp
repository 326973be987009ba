#include "tensor/core/shape.h"

#include "tensor/core/error.h"

namespace tessera {

Shape::Shape(std::initializer_list<std::int64_t> sizes) {
  check(sizes.size() <= kMaxRank, "shape: rank ", sizes.size(), ", expected at most ", kMaxRank);
  for (const auto size : sizes) {
    check(size >= 0, "shape: size ", size, " is negative");
    sizes_[static_cast<std::size_t>(rank_++)] = size;
  }
}

std::int64_t Shape::dim(int axis) const {
  const int i = axis < 0 ? axis + rank_ : axis;
  if (i < 0 || i >= rank_) throw Error(str("shape: axis ", axis, " of ", text(), " does not exist"));  // text() only here
  return sizes_[static_cast<std::size_t>(i)];
}

std::int64_t Shape::numel() const {
  std::int64_t n = 1;
  for (int i = 0; i < rank_; ++i) n *= sizes_[static_cast<std::size_t>(i)];
  return n;
}

std::string Shape::text() const {
  std::string out = "(";
  for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string(sizes_[static_cast<std::size_t>(i)]);
  return out + ")";
}

}  // namespace tessera
