#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/token_cross/token_cross.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kRows = 256;   // tokens a tile, so that its layers stay in the cache
constexpr std::int64_t kChunks = 16;  // of items in the backward pass, each with its own sums of weights

// Loops over the rows of a tile, told that nothing overlaps, so that they become vectors.
template <class T>
void cross_rows(std::int64_t rows, std::int64_t width, const T* __restrict first, const T* __restrict in,
                const T* __restrict bias, T* __restrict y, T* __restrict out) {
  for (std::int64_t row = 0; row < rows; ++row, first += width, in += width, y += width, out += width)
    for (std::int64_t k = 0; k < width; ++k) {
      y[k] += bias[k];
      out[k] = first[k] * y[k] + in[k];
    }
}

template <class T>
void cross_rows_backward(std::int64_t rows, std::int64_t width, const T* __restrict g, const T* __restrict first,
                         const T* __restrict y, T* __restrict d_y, T* __restrict d_first, T* __restrict d_bias) {
  for (std::int64_t row = 0; row < rows; ++row, g += width, first += width, y += width, d_y += width, d_first += width)
    for (std::int64_t k = 0; k < width; ++k) {
      d_y[k] = g[k] * first[k];
      d_first[k] += g[k] * y[k];
      d_bias[k] += d_y[k];
    }
}

template <class T>
void add_to(std::int64_t n, const T* __restrict from, T* __restrict to) {
  for (std::int64_t j = 0; j < n; ++j) to[j] += from[j];
}

template <class T>
void sum_of(std::int64_t n, const T* __restrict a, const T* __restrict b, T* __restrict to) {
  for (std::int64_t j = 0; j < n; ++j) to[j] = a[j] + b[j];
}

// A tile holds its tokens as (T, items, D): then A X is one product with (T, items D), and X W one with (T items, D).
template <class T>
struct Tile {
  std::int64_t layers, tokens, width, most;  // most: items
  const T *table, *product, *mix, *bias, *weight;
  std::vector<T> x, p, y;  // X_0 .. X_L; P_l = X_l W_l, Y_l of every layer

  explicit Tile(const TokenCross& in)
      : layers(in.mix.dim(0)),
        tokens(in.mix.dim(1)),
        width(in.table.dim(1)),
        most(std::max<std::int64_t>(1, kRows / tokens)),
        table(in.table.data<T>()),
        product(in.product.data<T>()),
        mix(in.mix.data<T>()),
        bias(in.bias.data<T>()),
        weight(layers > 1 ? in.weight.data<T>() : nullptr) {
    const auto size = static_cast<std::size_t>(tokens * most * width), all = size * static_cast<std::size_t>(layers);
    x.resize(all + size), p.resize(all), y.resize(all);
  }

  std::int64_t size(std::int64_t items) const { return tokens * items * width; }

  void gather(const T* from, const std::int32_t* ids, std::int64_t items, T* to) const {
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < items; ++i, to += width) {
        const std::int32_t id = ids[i * tokens + t];
        if (id >= 0) std::copy_n(from + id * width, width, to);
        else std::fill_n(to, width, T(0));
      }
  }

  // All layers; x holds X_0 .. X_L one after the other, each size(items) long.
  void forward(const std::int32_t* ids, std::int64_t items) {
    const std::int64_t n = size(items), columns = items * width;
    gather(table, ids, items, x.data());
    for (std::int64_t l = 0; l < layers; ++l) {
      const T* in = x.data() + l * n;
      T *out = x.data() + (l + 1) * n, *pl = p.data() + l * n, *yl = y.data() + l * n;
      if (l == 0) gather(product, ids, items, pl);
      else
        gemm_tile({false, false, tokens * items, width, width}, T(1), in, width, weight + (l - 1) * width * width,
                  width, T(0), pl, width);
      gemm_tile({false, false, tokens, columns, tokens}, T(1), mix + l * tokens * tokens, tokens, pl, columns, T(0), yl,
                columns);
      cross_rows(tokens * items, width, x.data(), in, bias + l * width, yl, out);
    }
  }

  void sum(std::int64_t items, T* to) const {
    const T* from = x.data() + layers * size(items);
    std::copy_n(from, items * width, to);
    for (std::int64_t t = 1; t < tokens; ++t) add_to(items * width, from + t * items * width, to);
  }
};

// Sums of gradients of one chunk of items.
template <class T>
struct Sums {
  std::vector<T> mix, bias, weight;
};

template <class T>
void backward_of_tile(Tile<T>& tile, const std::int32_t* ids, std::int64_t items, const T* dy, std::vector<T>& scratch,
                      Sums<T>& sums, T* d_table, T* d_product) {
  tile.forward(ids, items);
  const std::int64_t n = tile.size(items), tokens = tile.tokens, width = tile.width, columns = items * width;
  scratch.resize(static_cast<std::size_t>(4 * tile.size(tile.most)));
  T *g = scratch.data(), *d_first = g + n, *d_y = d_first + n, *d_p = d_y + n;
  std::fill_n(d_first, n, T(0));
  for (std::int64_t t = 0; t < tokens; ++t) std::copy_n(dy, columns, g + t * columns);
  for (std::int64_t l = tile.layers; l-- > 0;) {
    const T *x = tile.x.data() + l * n, *p = tile.p.data() + l * n, *y = tile.y.data() + l * n;
    cross_rows_backward(tokens * items, width, g, tile.x.data(), y, d_y, d_first, sums.bias.data() + l * width);
    const T* mix = tile.mix + l * tokens * tokens;
    gemm_tile({false, true, tokens, tokens, columns}, T(1), d_y, columns, p, columns, T(1),
              sums.mix.data() + l * tokens * tokens, tokens);
    gemm_tile({true, false, tokens, columns, tokens}, T(1), mix, tokens, d_y, columns, T(0), d_p, columns);
    if (l == 0) break;
    const T* w = tile.weight + (l - 1) * width * width;
    gemm_tile({true, false, width, width, tokens * items}, T(1), x, width, d_p, width, T(1),
              sums.weight.data() + (l - 1) * width * width, width);
    gemm_tile({false, true, tokens * items, width, width}, T(1), d_p, width, w, width, T(1), g, width);
  }
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t i = 0; i < items; ++i) {
      const std::int64_t from = (t * items + i) * width, to = (i * tokens + t) * width;
      std::copy_n(d_p + from, width, d_product + to);
      sum_of(width, d_first + from, g + from, d_table + to);
    }
}

// to = parts 0 + 1 + .. in that order.
template <class T, class F>
void combine(const std::vector<Sums<T>>& parts, F member, const Tensor& to) {
  T* out = to.data<T>();
  std::fill_n(out, to.numel(), T(0));
  for (const auto& part : parts) {
    const std::vector<T>& from = part.*member;
    for (std::size_t i = 0; i < from.size(); ++i) out[i] += from[i];
  }
}

}  // namespace

void token_cross_forward(const TokenCross& in, std::span<const std::int32_t> tokens, Tensor& y) {
  dispatch_float("token_cross", in.table.dtype(), [&](auto type) {
    using T = decltype(type);
    const Tile<T> like(in);
    T* out = y.data<T>();
    parallel_rows(y.dim(0), 4 * like.most, [&](std::int64_t begin, std::int64_t end) {
      Tile<T> tile(in);
      for (std::int64_t i = begin; i < end; i += tile.most) {
        const std::int64_t items = std::min(tile.most, end - i);
        tile.forward(tokens.data() + i * tile.tokens, items);
        tile.sum(items, out + i * tile.width);
      }
    });
  });
}

void token_cross_backward(const TokenCross& in, std::span<const std::int32_t> tokens, const Tensor& dy, TokenCross& d) {
  dispatch_float("token_cross", in.table.dtype(), [&](auto type) {
    using T = decltype(type);
    const Tile<T> like(in);
    const std::int64_t rows = dy.dim(0);
    const std::int64_t tiles = (rows + like.most - 1) / like.most;
    const std::int64_t each = std::max<std::int64_t>(1, (tiles + kChunks - 1) / kChunks) * like.most;
    std::vector<Sums<T>> parts(static_cast<std::size_t>((rows + each - 1) / each));
    const T* from = dy.data<T>();
    T *d_table = d.table.data<T>(), *d_product = d.product.data<T>();
    parallel_rows(rows, each, [&](std::int64_t begin, std::int64_t end) {
      Tile<T> tile(in);
      Sums<T>& sums = parts[static_cast<std::size_t>(begin / each)];
      sums.mix.assign(static_cast<std::size_t>(in.mix.numel()), T(0));
      sums.bias.assign(static_cast<std::size_t>(in.bias.numel()), T(0));
      sums.weight.assign(static_cast<std::size_t>(in.weight.numel()), T(0));
      std::vector<T> scratch;
      for (std::int64_t i = begin; i < end; i += tile.most) {
        const std::int64_t items = std::min(tile.most, end - i), at = i * tile.tokens;
        backward_of_tile(tile, tokens.data() + at, items, from + i * tile.width, scratch, sums,
                         d_table + at * tile.width, d_product + at * tile.width);
      }
    });
    combine(parts, &Sums<T>::mix, d.mix);
    combine(parts, &Sums<T>::bias, d.bias);
    combine(parts, &Sums<T>::weight, d.weight);
  });
}

}  // namespace tessera::cpu
