#include "framework/catalog/order.h"

#include <algorithm>
#include <numeric>

namespace tessera {

std::vector<std::int32_t> order_by_codes(std::span<const std::int32_t> codes, int levels) {
  const auto width = static_cast<std::size_t>(levels);
  const std::size_t items = levels > 0 ? codes.size() / width : 0;
  std::vector<std::int32_t> order(items), next(items);
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t level = width; level-- > 0;) {  // the last level first: each pass is stable
    std::int32_t top = -1;
    for (std::size_t i = 0; i < items; ++i) top = std::max(top, codes[i * width + level]);
    std::vector<std::int32_t> place(static_cast<std::size_t>(top + 3), 0);
    for (std::size_t i = 0; i < items; ++i) ++place[static_cast<std::size_t>(codes[i * width + level] + 2)];
    std::partial_sum(place.begin(), place.end(), place.begin());
    for (const std::int32_t item : order) {
      const std::int32_t code = codes[static_cast<std::size_t>(item) * width + level];
      next[static_cast<std::size_t>(place[static_cast<std::size_t>(code + 1)]++)] = item;
    }
    order.swap(next);
  }
  return order;
}

std::vector<std::int32_t> shared_prefixes(std::span<const std::int32_t> codes, int levels,
                                          std::span<const std::int32_t> order) {
  const auto width = static_cast<std::size_t>(levels);
  std::vector<std::int32_t> shared(order.size(), 0);
  for (std::size_t at = 1; at < order.size(); ++at) {
    const std::int32_t* a = codes.data() + static_cast<std::size_t>(order[at - 1]) * width;
    const std::int32_t* b = codes.data() + static_cast<std::size_t>(order[at]) * width;
    while (shared[at] < levels && a[shared[at]] == b[shared[at]]) ++shared[at];
  }
  return shared;
}

std::string text_of_codes(std::span<const std::int32_t> codes) {
  std::string text = "(";
  for (std::size_t l = 0; l < codes.size(); ++l) text += (l ? ", " : "") + std::to_string(codes[l]);
  return text + ")";
}

}  // namespace tessera
