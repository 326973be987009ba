#include <algorithm>
#include <cmath>

#include "plugins/generative_decoder/code_table.h"

namespace tessera {
namespace {

// Sixteen sums side by side, so that the loop runs in vectors; the same order for every caller.
float dot(const float* a, const float* b, std::int64_t n) {
  constexpr int kLanes = 16;
  float sums[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) sums[j] += a[i + j] * b[i + j];
  float sum = 0.0f;
  for (const float part : sums) sum += part;
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

void LevelScores::children(std::int32_t prefix, const Trie::Children& children, double* out) const {
  const std::size_t count = children.code.size();
  if (nodes_) {
    const std::int64_t width = nodes_.columns();
    const float* q = queries_.data<float>() + prefix * width;
    const float* first = nodes_.data<float>() + (children.first - first_node_) * width;
    for (std::size_t c = 0; c < count; ++c)
      out[c] = static_cast<double>(dot(q, first + static_cast<std::int64_t>(c) * width, width));
  } else {
    const float* row = logits_.data<float>() + prefix * logits_.columns();
    for (std::size_t c = 0; c < count; ++c)
      out[c] = static_cast<double>(row[children.code[c] < 0 ? absent_ : first_ + children.code[c]]);
  }
  double normalizer = 0.0;
  if (legal_) {
    const double top = *std::max_element(out, out + count);
    for (std::size_t c = 0; c < count; ++c) normalizer += std::exp(out[c] - top);
    normalizer = top + std::log(normalizer);
  } else {
    normalizer = static_cast<double>(normalizer_.data<float>()[prefix]);
  }
  for (std::size_t c = 0; c < count; ++c) out[c] -= normalizer;
}

double LevelScores::outside(std::int32_t prefix, const Trie::Children& children) const {
  if (legal_) return 0.0;
  const std::int64_t columns = logits_.columns();
  std::vector<char> inside(static_cast<std::size_t>(columns), 0);
  for (const std::int32_t code : children.code)
    inside[static_cast<std::size_t>(code < 0 ? absent_ : first_ + code)] = 1;
  const float* row = logits_.data<float>() + prefix * columns;
  const auto normalizer = static_cast<double>(normalizer_.data<float>()[prefix]);
  double sum = 0.0;
  for (std::int64_t c = 0; c < columns; ++c)
    if (!inside[static_cast<std::size_t>(c)]) sum += std::exp(static_cast<double>(row[c]) - normalizer);
  return std::min(sum, 1.0);  // the normaliser is rounded to f32
}

void LevelScores::all(std::int32_t prefix, std::int64_t codes, double* out) const {
  const float* row = logits_.data<float>() + prefix * logits_.columns() + first_;
  const auto normalizer = static_cast<double>(normalizer_.data<float>()[prefix]);
  for (std::int64_t c = 0; c < codes; ++c) out[c] = static_cast<double>(row[c]) - normalizer;
}

}  // namespace tessera
