#include <algorithm>
#include <cmath>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/adamw/adamw.h"
#include "tensor/ops/reduce/lanes.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kTile = 16384;  // elements

// Tiles run across tensors, so many small ones cost no more than one large one.
struct Tile {
  std::size_t tensor;
  std::int64_t begin, end;
};

template <class SizeOf>
std::vector<Tile> tiles_of(std::size_t tensors, SizeOf&& size_of_tensor) {
  std::vector<Tile> tiles;
  for (std::size_t i = 0; i < tensors; ++i) {
    const std::int64_t n = size_of_tensor(i);
    for (std::int64_t begin = 0; begin < n; begin += kTile) tiles.push_back({i, begin, std::min(n, begin + kTile)});
  }
  return tiles;
}

template <class T>
void update(const AdamWTensor& p, const AdamWStep& step, std::int64_t begin, std::int64_t end) {
  const detail::AdamWFactors factors = detail::adamw_factors(step, p.weight_decay);
  const T b1 = static_cast<T>(step.beta1), b2 = static_cast<T>(step.beta2), eps = static_cast<T>(step.eps);
  const T c1 = static_cast<T>(1.0 - step.beta1), c2 = static_cast<T>(1.0 - step.beta2);
  const T rate = static_cast<T>(factors.rate), root = static_cast<T>(factors.root), keep = static_cast<T>(factors.keep);
  const T by = static_cast<T>(step.gradient_scale);
  T* __restrict value = p.value.data<T>();
  T* __restrict first = p.first.data<T>();
  T* __restrict second = p.second.data<T>();
  const T* __restrict gradient = p.gradient.data<T>();
  for (std::int64_t i = begin; i < end; ++i) {
    const T g = by * gradient[i];
    const T m = first[i] = b1 * first[i] + c1 * g;
    const T v = second[i] = b2 * second[i] + c2 * g * g;
    value[i] = keep * value[i] - rate * m / (std::sqrt(v) * root + eps);
  }
}

}  // namespace

void adamw(std::span<AdamWTensor> parameters, const AdamWStep& step) {
  const auto tiles = tiles_of(parameters.size(), [&](std::size_t i) { return parameters[i].value.numel(); });
  parallel_for(static_cast<std::int64_t>(tiles.size()), [&](std::int64_t at) {
    const Tile& tile = tiles[static_cast<std::size_t>(at)];
    const AdamWTensor& p = parameters[tile.tensor];
    dispatch_float("adamw", p.value.dtype(), [&](auto type) { update<decltype(type)>(p, step, tile.begin, tile.end); });
  });
}

void sum_of_squares(std::span<const Tensor> tensors, double& out) {
  const auto tiles = tiles_of(tensors.size(), [&](std::size_t i) { return tensors[i].numel(); });
  std::vector<double> part(tiles.size());
  parallel_for(static_cast<std::int64_t>(tiles.size()), [&](std::int64_t at) {
    const Tile& tile = tiles[static_cast<std::size_t>(at)];
    const Tensor& x = tensors[tile.tensor];
    dispatch_float("global_norm", x.dtype(), [&](auto type) {
      part[static_cast<std::size_t>(at)] =
          detail::lane_sum(tile.end - tile.begin, [p = x.data<decltype(type)>() + tile.begin](std::int64_t i) {
            const double value = static_cast<double>(p[i]);
            return value * value;
          });
    });
  });
  out = 0.0;
  for (const double value : part) out += value;
}

}  // namespace tessera::cpu
