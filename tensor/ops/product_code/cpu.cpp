#include <algorithm>
#include <limits>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/core/simd.h"
#include "tensor/ops/product_code/product_code.h"

namespace tessera::cpu {
namespace {

// The micro kernel holds kGroup rows x kVectors vectors of codes in registers.
inline constexpr int kGroup = simd::kRegisters >= 32 ? 6 : 4;
inline constexpr int kVectors = simd::kRegisters >= 32 ? 4 : 2;
template <class T>
inline constexpr int kBlock = kVectors* simd::kLanes<T>;
constexpr std::int64_t kRows = 16 * kGroup;

// Codebooks turned so that the codes of a block stand beside each other: (M, blocks, D / M, kBlock), and their squared
// lengths (M, blocks, kBlock); lanes without a code are infinitely long.
template <class T>
struct Packed {
  std::int64_t parts = 0, codes = 0, width = 0, blocks = 0;
  std::vector<T> values, length;
};

template <class T>
Packed<T> pack(const Tensor& codebooks) {
  Packed<T> out;
  out.parts = codebooks.dim(0), out.codes = codebooks.dim(1), out.width = codebooks.dim(2);
  out.blocks = (out.codes + kBlock<T> - 1) / kBlock<T>;
  out.values.assign(static_cast<std::size_t>(out.parts * out.blocks * out.width * kBlock<T>), T(0));
  out.length.assign(static_cast<std::size_t>(out.parts * out.blocks * kBlock<T>), std::numeric_limits<T>::infinity());
  parallel_for(out.parts, [&](std::int64_t m) {
    for (std::int64_t k = 0; k < out.codes; ++k) {
      const T* from = codebooks.data<T>() + (m * out.codes + k) * out.width;
      const std::int64_t block = m * out.blocks + k / kBlock<T>, lane = k % kBlock<T>;
      double length = 0.0;
      for (std::int64_t j = 0; j < out.width; ++j) {
        out.values[static_cast<std::size_t>((block * out.width + j) * kBlock<T> + lane)] = from[j];
        length += static_cast<double>(from[j]) * static_cast<double>(from[j]);
      }
      out.length[static_cast<std::size_t>(block * kBlock<T> + lane)] = static_cast<T>(length);
    }
  });
  return out;
}

// Codes of kGroup rows of one part. x: (kGroup, D / M) times -2; values and length: the part's codebook.
template <class T>
void search(const T* x, const Packed<T>& packed, const T* values, const T* length, std::int32_t* code) {
  using V = simd::Vec<T>;
  using Int = decltype(V{} < V{});
  constexpr int lanes = simd::kLanes<T>;
  V best[kGroup];
  Int index[kGroup], lane{};
  for (int l = 0; l < lanes; ++l) lane[l] = l;
  for (int r = 0; r < kGroup; ++r) best[r] = simd::broadcast(std::numeric_limits<T>::infinity()), index[r] = lane;
  for (std::int64_t b = 0; b < packed.blocks; ++b, values += packed.width * kBlock<T>) {
    V sum[kGroup][kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const V own = simd::load(length + b * kBlock<T> + v * lanes);
#pragma GCC unroll 6
      for (int r = 0; r < kGroup; ++r) sum[r][v] = own;
    }
    for (std::int64_t j = 0; j < packed.width; ++j) {
      V c[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) c[v] = simd::load(values + j * kBlock<T> + v * lanes);
#pragma GCC unroll 6
      for (int r = 0; r < kGroup; ++r) {
        const V a = simd::broadcast(x[r * packed.width + j]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] += a * c[v];
      }
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Int here = lane + static_cast<decltype(lane[0] + 0)>(b * kBlock<T> + v * lanes);
#pragma GCC unroll 6
      for (int r = 0; r < kGroup; ++r) {
        const auto less = sum[r][v] < best[r];
        best[r] = less ? sum[r][v] : best[r];
        index[r] = less ? here : index[r];
      }
    }
  }
  for (int r = 0; r < kGroup; ++r) {
    auto least = best[r][0];
    auto at = index[r][0];
    for (int l = 1; l < lanes; ++l)
      if (best[r][l] < least || (best[r][l] == least && index[r][l] < at)) least = best[r][l], at = index[r][l];
    code[r] = static_cast<std::int32_t>(at);
  }
}

template <class T>
void nearest(const Tensor& x, const Tensor& codebooks, std::int32_t* code) {
  const Packed<T> packed = pack<T>(codebooks);
  const std::int64_t parts = packed.parts, width = packed.width, columns = parts * width;
  parallel_rows(x.dim(0), kRows, [&, values = x.data<T>()](std::int64_t begin, std::int64_t end) {
    const std::int64_t groups = (end - begin + kGroup - 1) / kGroup;
    std::vector<T> rows(static_cast<std::size_t>(groups * kGroup * width), T(0));
    std::int32_t found[kGroup];
    for (std::int64_t m = 0; m < parts; ++m) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T* from = values + i * columns + m * width;
        T* to = rows.data() + (i - begin) * width;
        for (std::int64_t j = 0; j < width; ++j) to[j] = T(-2) * from[j];
      }
      for (std::int64_t g = 0; g < groups; ++g) {
        search(rows.data() + g * kGroup * width, packed, packed.values.data() + m * packed.blocks * width * kBlock<T>,
               packed.length.data() + m * packed.blocks * kBlock<T>, found);
        const std::int64_t first = begin + g * kGroup, count = std::min<std::int64_t>(kGroup, end - first);
        for (std::int64_t r = 0; r < count; ++r) code[(first + r) * parts + m] = found[r];
      }
    }
  });
}

// Sums of at most kSumRows rows in T, these in f64: the mean of many rows is as exact as that of few.
constexpr std::int64_t kSumRows = 4096;

template <class T>
void means_of(const Tensor& x, std::span<const std::int32_t> codes, Tensor& means, std::int64_t* hits) {
  const std::int64_t rows = x.dim(0), parts = means.dim(0), count = means.dim(1), width = means.dim(2);
  parallel_for(parts, [&, values = x.data<T>(), out = means.data<T>()](std::int64_t m) {
    std::vector<double> total(static_cast<std::size_t>(count * width), 0.0);
    std::vector<T> sum(total.size());
    for (std::int64_t begin = 0; begin < rows; begin += kSumRows) {
      std::fill(sum.begin(), sum.end(), T(0));
      for (std::int64_t i = begin; i < std::min(rows, begin + kSumRows); ++i) {
        const std::int32_t code = codes[static_cast<std::size_t>(i * parts + m)];
        if (code < 0) continue;
        ++hits[m * count + code];
        const T* from = values + (i * parts + m) * width;
        T* to = sum.data() + code * width;
        for (std::int64_t j = 0; j < width; ++j) to[j] += from[j];
      }
      for (std::size_t i = 0; i < sum.size(); ++i) total[i] += static_cast<double>(sum[i]);
    }
    for (std::int64_t k = 0; k < count; ++k) {
      if (hits[m * count + k] == 0) continue;
      const double share = 1.0 / static_cast<double>(hits[m * count + k]);
      T* to = out + (m * count + k) * width;
      for (std::int64_t j = 0; j < width; ++j)
        to[j] = static_cast<T>(total[static_cast<std::size_t>(k * width + j)] * share);
    }
  });
}

}  // namespace

void nearest_product_codes(const Tensor& x, const Tensor& codebooks, std::int32_t* code) {
  dispatch_float("nearest_product_codes", x.dtype(), [&](auto type) { nearest<decltype(type)>(x, codebooks, code); });
}

void product_code_means(const Tensor& x, std::span<const std::int32_t> codes, Tensor& means, std::int64_t* hits) {
  dispatch_float("product_code_means", x.dtype(), [&](auto type) { means_of<decltype(type)>(x, codes, means, hits); });
}

}  // namespace tessera::cpu
