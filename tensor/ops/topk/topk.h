#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tensor/core/tensor.h"

namespace tessera {

struct TopK {
  std::vector<std::int32_t> index;  // (B, k) best first; -1 where a row has fewer candidates
  std::vector<float> score;         // (B, k); -infinity where index is -1
};

// The k largest of each row. Ties go to the smaller index; NaN never wins; -infinity is no candidate.
// x: (B, I) f32. Not recorded.
TESSERA_API TopK topk(const Tensor& x, int k);

// Full ranking by inner product without the (B, I) matrix: queries (B, D), items (I, D), both f32, blocks of items, one
// heap a row. The score of an item is query . item + item_bias (I), where there is one. The same order as topk.
// excluded: jagged lists of item ids a query may not get (sorted or not), offset (B + 1), or both empty; allowed: (I)
// 0/1, or empty.
TESSERA_API TopK topk_inner_product(const Tensor& queries, const Tensor& items, int k,
                                    std::span<const std::int64_t> excluded_offset,
                                    std::span<const std::int32_t> excluded, std::span<const std::uint8_t> allowed,
                                    const Tensor& item_bias = {});

}  // namespace tessera
