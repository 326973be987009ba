#include "framework/nn/token_tower.h"

#include <algorithm>
#include <numeric>

#include "tensor/ops/elementwise/elementwise.h"

namespace tessera {

TokenTower::TokenTower(const Catalog& catalog, int width, bool mean, double deviation)
    : width_(width), levels_(catalog.levels()), mean_(mean) {
  std::vector<std::int32_t> items(static_cast<std::size_t>(catalog.items()));
  std::iota(items.begin(), items.end(), 0);
  tokens_ = catalog.tokens_of(items);
  plain_ = levels_ == 1 && catalog.tokens() == catalog.items() && tokens_ == items;
  table_ = std::make_unique<Embedding>(catalog.tokens(), width, normal(deviation));
  add_module("tokens", *table_);
}

TokenTower::~TokenTower() = default;

Tensor TokenTower::combine(const std::vector<std::int32_t>& tokens) {
  const Tensor sum = table_->sum(tokens, levels_);
  if (!mean_ || levels_ == 1) return sum;
  const std::size_t count = tokens.size() / static_cast<std::size_t>(levels_);
  std::vector<float> share(count);
  for (std::size_t i = 0; i < count; ++i) {
    const auto* row = tokens.data() + i * static_cast<std::size_t>(levels_);
    const auto present = std::count_if(row, row + levels_, [](std::int32_t token) { return token >= 0; });
    share[i] = 1.0f / static_cast<float>(std::max<std::ptrdiff_t>(1, present));
  }
  return scale_rows(sum, Tensor::from(share, {static_cast<std::int64_t>(count)}).to(sum.dtype()));
}

Tensor TokenTower::vectors(std::span<const std::int32_t> items) {
  if (plain_) return (*table_)(items);
  const auto levels = static_cast<std::size_t>(levels_);
  std::vector<std::int32_t> tokens(items.size() * levels, -1);
  for (std::size_t i = 0; i < items.size(); ++i)
    if (items[i] >= 0)
      std::copy_n(tokens_.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(items[i]) * levels), levels,
                  tokens.begin() + static_cast<std::ptrdiff_t>(i * levels));
  return combine(tokens);
}

Tensor TokenTower::all() { return plain_ ? table_->all() : combine(tokens_); }

}  // namespace tessera
