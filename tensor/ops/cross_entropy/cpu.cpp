#include <algorithm>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/cross_entropy/rows.h"

namespace tessera::cpu {
namespace {

std::int64_t rows_a_tile(std::int64_t columns) {
  return std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(columns, 1));
}

}  // namespace

double cross_entropy_forward(const Tensor& logits, const CrossEntropyTargets& targets, Tensor& log_sum) {
  return dispatch_float("cross_entropy", logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = logits.dim(0), classes = logits.dim(1), grain = rows_a_tile(classes);
    std::vector<double> losses(static_cast<std::size_t>((rows + grain - 1) / grain));
    parallel_rows(rows, grain, [&](std::int64_t begin, std::int64_t end) {
      double loss = 0.0;
      for (std::int64_t i = begin; i < end; ++i) {
        const T* x = logits.data<T>() + i * classes;
        const double sum = detail::log_sum_exp(x, classes);
        log_sum.data<T>()[i] = static_cast<T>(sum);
        const std::int32_t t = targets.target[static_cast<std::size_t>(i)];
        if (t < 0) continue;
        loss += sum - (1.0 - targets.smoothing) * static_cast<double>(x[t]);
        if (targets.smoothing > 0.0) loss -= targets.smoothing * detail::row_mean(x, classes);
      }
      losses[static_cast<std::size_t>(begin / grain)] = loss;
    });
    double loss = 0.0;
    for (const double part : losses) loss += part;
    return targets.count > 0 ? loss / static_cast<double>(targets.count) : 0.0;
  });
}

void cross_entropy_backward(const Tensor& logits, const CrossEntropyTargets& targets, const Tensor& log_sum,
                            double factor, Tensor& dx) {
  dispatch_float("cross_entropy", logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = logits.dim(0), classes = logits.dim(1);
    const double each = targets.count > 0 ? factor / static_cast<double>(targets.count) : 0.0;
    const T scale = static_cast<T>(each),
            even = static_cast<T>(each * targets.smoothing / static_cast<double>(classes));
    parallel_rows(rows, rows_a_tile(classes), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T* x = logits.data<T>() + i * classes;
        T* g = dx.data<T>() + i * classes;
        const std::int32_t t = targets.target[static_cast<std::size_t>(i)];
        if (t < 0) {
          std::fill(g, g + classes, T(0));
          continue;
        }
        const T shift = log_sum.data<T>()[i];
        for (std::int64_t j = 0; j < classes; ++j) g[j] = scale * detail::fast_exp(x[j] - shift) - even;
        g[t] -= static_cast<T>(each * (1.0 - targets.smoothing));
      }
    });
  });
}

}  // namespace tessera::cpu
