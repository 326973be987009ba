#include "tensor/ops/nearest_code/nearest_code.h"

#include <algorithm>
#include <limits>

#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/reduce/lanes.h"

namespace tessera {
namespace {

constexpr std::int64_t kRows = 64, kCodes = 256;

void check_inputs(const char* name, const Tensor& x, const Tensor& codebook) {
  check_agree(name, "x", x, "codebook", codebook);
  require_cpu_kernel(name, x.device());
  check(x.shape().rank() == 2 && codebook.shape().rank() == 2 && x.dim(1) == codebook.dim(1), name, ": x ",
        x.shape().text(), ", codebook ", codebook.shape().text(), ", expected (N, D) and (K, D)");
  check(codebook.dim(0) >= 1 && codebook.dim(0) <= std::numeric_limits<std::int32_t>::max(), name, ": codebook ",
        codebook.shape().text(), " has ", codebook.dim(0), " codes, expected 1 or more");
}

// |row|^2 of each row.
template <class T>
std::vector<T> squared_lengths(const Tensor& x) {
  const std::int64_t width = x.dim(1);
  std::vector<T> out(static_cast<std::size_t>(x.dim(0)));
  parallel_rows(x.dim(0), 256, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      out[static_cast<std::size_t>(row)] =
          static_cast<T>(detail::lane_sum(width, [p = x.data<T>() + row * width](std::int64_t i) {
            const double value = static_cast<double>(p[i]);
            return value * value;
          }));
  });
  return out;
}

// The nearest codes of rows begin .. begin + rows, block after block of the codebook.
template <class T>
void nearest_of_tile(const Tensor& x, const Tensor& codebook, const std::vector<T>& length, std::int64_t begin,
                     std::int64_t rows, std::int32_t* code) {
  const std::int64_t width = x.dim(1), codes = codebook.dim(0);
  alignas(64) T distance[kRows * kCodes];
  T best[kRows];
  std::fill_n(best, rows, std::numeric_limits<T>::infinity());
  std::fill_n(code, rows, 0);
  for (std::int64_t at = 0; at < codes; at += kCodes) {
    const std::int64_t n = std::min(kCodes, codes - at);
    gemm_tile({false, true, rows, n, width}, T(-2), x.data<T>() + begin * width, width, codebook.data<T>() + at * width,
              width, T(0), distance, kCodes);
    for (std::int64_t row = 0; row < rows; ++row) {
      T* d = distance + row * kCodes;
      T least = std::numeric_limits<T>::infinity();
      const T* own = length.data() + at;
      for (std::int64_t j = 0; j < n; ++j) d[j] += own[j];
#pragma omp simd reduction(min : least)
      for (std::int64_t j = 0; j < n; ++j) least = d[j] < least ? d[j] : least;
      if (!(least < best[row])) continue;  // a tie stays with the smaller code
      best[row] = least;
      code[row] = static_cast<std::int32_t>(at + (std::find(d, d + n, least) - d));
    }
  }
}

}  // namespace

std::vector<std::int32_t> nearest_code(const Tensor& x, const Tensor& codebook) {
  check_inputs("nearest_code", x, codebook);
  std::vector<std::int32_t> code(static_cast<std::size_t>(x.dim(0)));
  dispatch_float("nearest_code", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto length = squared_lengths<T>(codebook);
    parallel_rows(x.dim(0), kRows, [&](std::int64_t begin, std::int64_t end) {
      nearest_of_tile<T>(x, codebook, length, begin, end - begin, code.data() + begin);
    });
  });
  return code;
}

Tensor squared_distances(const Tensor& x, const Tensor& codebook) {
  check_inputs("squared_distances", x, codebook);
  const std::int64_t rows = x.dim(0), codes = codebook.dim(0), width = x.dim(1);
  Tensor y({rows, codes}, x.dtype());
  dispatch_float("squared_distances", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto length = squared_lengths<T>(codebook), own = squared_lengths<T>(x);
    parallel_rows(rows, kRows, [&](std::int64_t begin, std::int64_t end) {
      T* to = y.data<T>() + begin * codes;
      gemm_tile({false, true, end - begin, codes, width}, T(-2), x.data<T>() + begin * width, width, codebook.data<T>(),
                width, T(0), to, codes);
      for (std::int64_t row = begin; row < end; ++row, to += codes)
        for (std::int64_t j = 0; j < codes; ++j) {
          const T d = to[j] + length[static_cast<std::size_t>(j)] + own[static_cast<std::size_t>(row)];
          to[j] = d > T(0) ? d : T(0);  // rounding may leave a little less than nothing
        }
    });
  });
  return y;
}

}  // namespace tessera
