#include "plugins/generative_decoder/dense.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "tensor/core/parallel.h"

namespace tessera {

void DenseScores::add_to(std::span<float> scores, const Histories& histories, std::span<const std::int64_t> offset,
                         std::span<const std::int32_t> items) const {
  const Tensor &users = catalog_.user_vectors(), &vectors = catalog_.item_vectors();
  const std::int64_t width = vectors.columns();
  parallel_for(std::ssize(offset) - 1, [&](std::int64_t row) {
    const auto b = static_cast<std::size_t>(row);
    const std::int32_t user = histories.user.empty() ? -1 : histories.user[b];
    if (user < 0) return;
    const float* u = users.data<float>() + user * width;
    for (auto i = static_cast<std::size_t>(offset[b]); i < static_cast<std::size_t>(offset[b + 1]); ++i) {
      if (items[i] < 0) continue;
      const float* v = vectors.data<float>() + items[i] * width;
      scores[i] = static_cast<float>(scores[i] + weight_ * std::inner_product(u, u + width, v, 0.0));
    }
  });
}

Ranking DenseScores::reordered(Ranking candidates, const Histories& histories, int k) const {
  const auto many = static_cast<std::size_t>(candidates.k), few = static_cast<std::size_t>(k);
  std::vector<std::int64_t> offset{0};
  for (std::int64_t b = 0; b < histories.rows(); ++b) offset.push_back(offset.back() + candidates.k);
  add_to(candidates.score, histories, offset, candidates.item);
  Ranking out;
  out.k = k;
  out.item.resize(static_cast<std::size_t>(histories.rows()) * few);
  out.score.resize(out.item.size());
  parallel_for(histories.rows(), [&](std::int64_t row) {
    const std::size_t begin = static_cast<std::size_t>(row) * many;
    std::vector<std::pair<float, std::int32_t>> order;
    for (std::size_t i = begin; i < begin + many && candidates.item[i] >= 0; ++i)
      order.emplace_back(-candidates.score[i], candidates.item[i]);
    std::sort(order.begin(), order.end());
    order.resize(few, {std::numeric_limits<float>::infinity(), -1});
    for (std::size_t place = 0; place < few; ++place) {
      out.item[static_cast<std::size_t>(row) * few + place] = order[place].second;
      out.score[static_cast<std::size_t>(row) * few + place] = -order[place].first;
    }
  });
  return out;
}

}  // namespace tessera
