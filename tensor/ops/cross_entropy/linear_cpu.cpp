#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/cross_entropy/rows.h"

namespace tessera::cpu {
namespace {

// Of one row and one block of classes: the largest logit, the sum of exp(logit - top), the mean logit where labels are
// smoothed.
struct RowStats {
  double top = 0.0, sum = 0.0, mean = 0.0;
};

// Both ways below hold a block of logits (rows x classes), small enough for the cache, turn it into exponentials, then
// into the gradient of the logits, and multiply that by w (dh) and by h (dw) before the next block comes.
template <class T>
class LinearCrossEntropy {
 public:
  LinearCrossEntropy(const Tensor& h, const Tensor& w, const Tensor& b, const CrossEntropyTargets& targets,
                     LinearCrossEntropyGradients& to)
      : h_(h.data<T>()),
        w_(w.data<T>()),
        b_(b ? b.data<T>() : nullptr),
        targets_(targets),
        to_(to),
        dtype_(h.dtype()),
        rows_(h.dim(0)),
        classes_(w.dim(0)),
        width_(h.dim(1)),
        mark_(targets.marked ? targets.marked->value.data<T>()[0] : T(0)) {
    if (targets.count > 0) each_ = 1.0 / static_cast<double>(targets.count);
  }

  double run() {
    const double loss = rows_ >= kManyRows && classes_ * width_ <= kSmallWeights ? by_rows() : by_classes();
    if (to_.dmarked)
      to_.dmarked.data<T>()[0] = static_cast<T>(std::accumulate(mark_gradient_.begin(), mark_gradient_.end(), 0.0));
    return loss;
  }

 private:
  static constexpr std::int64_t kManyRows = 512, kSmallWeights = 1 << 18, kMaxParts = 16;
  static constexpr std::int64_t kBlockSize = 1 << 17;  // logits of a block in by_rows(): half a core's cache
  static constexpr std::int64_t kChunkRows = 256, kMinBlockClasses = 256,
                                kBlockClasses = 512;  // the block in by_classes()

  bool wants_gradient() const { return to_.dh || to_.dw || to_.db || to_.dmarked; }

  // The marked classes of a row among first .. first + n.
  std::span<const std::int32_t> marks(std::int64_t row, std::int64_t first, std::int64_t n) const {
    if (targets_.marked == nullptr) return {};
    const auto& marked = *targets_.marked;
    const auto begin = marked.column.begin() + marked.offset[static_cast<std::size_t>(row)],
               end = marked.column.begin() + marked.offset[static_cast<std::size_t>(row) + 1];
    const auto low = std::lower_bound(begin, end, first), high = std::lower_bound(low, end, first + n);
    return {low, high};
  }
  std::int32_t target(std::int64_t row) const { return targets_.target[static_cast<std::size_t>(row)]; }

  // Exponentials in place of a block of h w^T.
  RowStats finish_row(T* x, std::int64_t row, std::int64_t first, std::int64_t n, double& target_logit) const {
    if (b_ != nullptr)
      for (std::int64_t j = 0; j < n; ++j) x[j] += b_[first + j];
    for (const std::int32_t c : marks(row, first, n)) x[c - first] += mark_;
    const std::int64_t t = target(row);
    if (t >= first && t < first + n) target_logit = static_cast<double>(x[t - first]);
    RowStats stats;
    const T top = detail::row_max(x, n);
    if (targets_.smoothing > 0.0) stats.mean = detail::row_mean(x, n);
    stats.top = static_cast<double>(top);
    stats.sum = static_cast<double>(detail::exp_row(x, n, top, x));
    return stats;
  }

  // The gradient of the logits from their exponentials: e scale - the target distribution, over the rows that count.
  // Returns its sum over the marked classes.
  double gradient_row(T* e, std::int64_t row, std::int64_t first, std::int64_t n, double scale) const {
    const std::int64_t t = target(row);
    if (t < 0) {
      std::fill(e, e + n, T(0));
      return 0.0;
    }
    const T factor = static_cast<T>(scale * each_);
    const T even = static_cast<T>(each_ * targets_.smoothing / static_cast<double>(classes_));
    for (std::int64_t j = 0; j < n; ++j) e[j] = e[j] * factor - even;
    if (t >= first && t < first + n) e[t - first] -= static_cast<T>(each_ * (1.0 - targets_.smoothing));
    double sum = 0.0;
    for (const std::int32_t c : marks(row, first, n)) sum += static_cast<double>(e[c - first]);
    return sum;
  }

  double loss_row(const RowStats& stats, double target_logit) const {
    return stats.top + std::log(stats.sum) - (1.0 - targets_.smoothing) * target_logit -
           targets_.smoothing * stats.mean;
  }

  // Products of one block's gradient g (rows, n): dh and, accumulated with beta, dw and db of classes first .. first +
  // n.
  void products(const T* g, std::int64_t row, std::int64_t rows, std::int64_t first, std::int64_t n, T* dh, T* dw,
                T* db, T beta) const {
    if (dh != nullptr)
      gemm_tile({false, false, rows, width_, n}, T(1), g, n, w_ + first * width_, width_, T(0), dh, width_);
    if (dw != nullptr)
      gemm_tile({true, false, n, width_, rows}, T(1), g, n, h_ + row * width_, width_, beta, dw, width_);
    if (db != nullptr) {
      if (beta == T(0)) std::fill(db, db + n, T(0));
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < n; ++j) db[j] += g[i * n + j];
    }
  }

  // Many rows, few classes: parts of rows, each with its own dw and all classes in one block.
  double by_rows() {
    const std::int64_t parts = std::min(kMaxParts, rows_ / 128), part_rows = (rows_ + parts - 1) / parts;
    const std::int64_t weights = classes_ * width_;
    const std::int64_t block_rows = std::clamp<std::int64_t>(kBlockSize / classes_, 32, 256);
    const Tensor wt = transposed();
    const Tensor dw = to_.dw ? Tensor::zeros({parts, weights}, dtype_) : Tensor();
    const Tensor db = to_.db ? Tensor::zeros({parts, classes_}, dtype_) : Tensor();
    std::vector<double> losses(static_cast<std::size_t>(parts));
    mark_gradient_.assign(static_cast<std::size_t>(parts), 0.0);
    parallel_for(parts, [&](std::int64_t part) {
      const std::int64_t begin = std::min(part * part_rows, rows_), end = std::min(begin + part_rows, rows_);
      const Tensor logits({block_rows, classes_}, dtype_);
      double loss = 0.0, mark = 0.0;
      for (std::int64_t row = begin; row < end; row += block_rows) {
        const std::int64_t rows = std::min(block_rows, end - row);
        T* x = logits.data<T>();
        gemm_tile({false, false, rows, classes_, width_}, T(1), h_ + row * width_, width_, wt.data<T>(), classes_, T(0),
                  x, classes_);
        for (std::int64_t i = 0; i < rows; ++i) loss += whole_row(x + i * classes_, row + i, mark);
        if (wants_gradient())
          products(x, row, rows, 0, classes_, to_.dh ? to_.dh.data<T>() + row * width_ : nullptr,
                   dw ? dw.data<T>() + part * weights : nullptr, db ? db.data<T>() + part * classes_ : nullptr, T(1));
      }
      losses[static_cast<std::size_t>(part)] = loss;
      mark_gradient_[static_cast<std::size_t>(part)] = mark;
    });
    if (dw) add_parts(dw, to_.dw);
    if (db) add_parts(db, to_.db);
    double loss = 0.0;
    for (const double part : losses) loss += part;
    return loss * each_;
  }

  double whole_row(T* x, std::int64_t row, double& mark_gradient) const {
    double logit = 0.0;
    const RowStats stats = finish_row(x, row, 0, classes_, logit);
    if (wants_gradient()) mark_gradient += gradient_row(x, row, 0, classes_, 1.0 / stats.sum);
    return target(row) < 0 ? 0.0 : loss_row(stats, logit);
  }

  // w as (D, K): the product reads it in its natural order for every block.
  Tensor transposed() const {
    Tensor out({width_, classes_}, dtype_);
    T* to = out.data<T>();
    parallel_rows(classes_, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t j = 0; j < width_; ++j)
        for (std::int64_t i = begin; i < end; ++i) to[j * classes_ + i] = w_[i * width_ + j];
    });
    return out;
  }

  void add_parts(const Tensor& parts, Tensor& to) const {
    const std::int64_t size = to.numel();
    T* out = to.data<T>();
    parallel_rows(size, 8192, [&](std::int64_t begin, std::int64_t end) {
      std::copy(parts.data<T>() + begin, parts.data<T>() + end, out + begin);
      for (std::int64_t p = 1; p < parts.dim(0); ++p) {
        const T* from = parts.data<T>() + p * size;
        for (std::int64_t i = begin; i < end; ++i) out[i] += from[i];
      }
    });
  }

  // Many classes: chunks of rows one after the other, each cut into blocks of classes; a block owns its rows of dw, so
  // nothing is added up but dh, a part a block.
  double by_classes() {
    const std::int64_t eighth = ((classes_ + 7) / 8 + 63) / 64 * 64;
    block_ = std::clamp(eighth, kMinBlockClasses, kBlockClasses);
    blocks_ = (classes_ + block_ - 1) / block_;
    const std::int64_t chunk = std::min(kChunkRows, std::max<std::int64_t>(rows_, 1));
    logits_ = Tensor({chunk, classes_}, dtype_);
    if (to_.dh) dh_parts_ = Tensor({blocks_, chunk, width_}, dtype_);
    stats_.resize(static_cast<std::size_t>(blocks_ * chunk));
    target_logit_.resize(static_cast<std::size_t>(chunk));
    mark_gradient_.assign(static_cast<std::size_t>(blocks_), 0.0);
    if (rows_ == 0 && to_.dw) to_.dw.fill(0.0);
    if (rows_ == 0 && to_.db) to_.db.fill(0.0);
    double loss = 0.0;
    for (std::int64_t row = 0; row < rows_; row += chunk) loss += one_chunk(row, std::min(chunk, rows_ - row));
    return loss * each_;
  }

  // Blocks of a chunk lie one after the other in memory, each (rows, n) without gaps.
  double one_chunk(std::int64_t row, std::int64_t rows) {
    std::fill(target_logit_.begin(), target_logit_.end(), 0.0);
    parallel_for(blocks_, [&](std::int64_t block) {
      const std::int64_t first = block * block_, n = std::min(block_, classes_ - first);
      T* x = logits_.data<T>() + first * rows;
      gemm_tile({false, true, rows, n, width_}, T(1), h_ + row * width_, width_, w_ + first * width_, width_, T(0), x,
                n);
      for (std::int64_t i = 0; i < rows; ++i)
        stats_[static_cast<std::size_t>(block * rows + i)] =
            finish_row(x + i * n, row + i, first, n, target_logit_[static_cast<std::size_t>(i)]);
    });
    const std::vector<RowStats> whole = combine(rows);
    if (wants_gradient()) gradient_blocks(row, rows, whole);
    double loss = 0.0;
    for (std::int64_t i = 0; i < rows; ++i)
      if (target(row + i) >= 0)
        loss += loss_row(whole[static_cast<std::size_t>(i)], target_logit_[static_cast<std::size_t>(i)]);
    return loss;
  }

  std::vector<RowStats> combine(std::int64_t rows) const {
    std::vector<RowStats> out(stats_.begin(), stats_.begin() + rows);
    for (std::int64_t i = 0; i < rows; ++i) {
      RowStats& whole = out[static_cast<std::size_t>(i)];
      const auto of = [&](std::int64_t block) -> const RowStats& {
        return stats_[static_cast<std::size_t>(block * rows + i)];
      };
      for (std::int64_t block = 1; block < blocks_; ++block) whole.top = std::max(whole.top, of(block).top);
      whole.sum = whole.mean = 0.0;
      for (std::int64_t block = 0; block < blocks_; ++block) {
        whole.sum += of(block).sum * std::exp(of(block).top - whole.top);
        whole.mean += of(block).mean * static_cast<double>(std::min(block_, classes_ - block * block_));
      }
      whole.mean /= static_cast<double>(classes_);
    }
    return out;
  }

  void gradient_blocks(std::int64_t row, std::int64_t rows, const std::vector<RowStats>& whole) {
    const T beta = row == 0 ? T(0) : T(1);
    parallel_for(blocks_, [&](std::int64_t block) {
      const std::int64_t first = block * block_, n = std::min(block_, classes_ - first);
      T* g = logits_.data<T>() + first * rows;
      for (std::int64_t i = 0; i < rows; ++i) {
        const RowStats& all = whole[static_cast<std::size_t>(i)];
        const double top = stats_[static_cast<std::size_t>(block * rows + i)].top;
        mark_gradient_[static_cast<std::size_t>(block)] +=
            gradient_row(g + i * n, row + i, first, n, std::exp(top - all.top) / all.sum);
      }
      products(g, row, rows, first, n, to_.dh ? dh_parts_.data<T>() + block * rows * width_ : nullptr,
               to_.dw ? to_.dw.data<T>() + first * width_ : nullptr, to_.db ? to_.db.data<T>() + first : nullptr, beta);
    });
    if (!to_.dh) return;
    T* out = to_.dh.data<T>() + row * width_;
    const T* part = dh_parts_.data<T>();
    const std::int64_t size = rows * width_;
    std::copy(part, part + size, out);
    for (std::int64_t block = 1; block < blocks_; ++block)
      for (std::int64_t i = 0; i < size; ++i) out[i] += part[block * size + i];
  }

  const T *h_, *w_, *b_;
  const CrossEntropyTargets& targets_;
  LinearCrossEntropyGradients& to_;
  DType dtype_;
  std::int64_t rows_, classes_, width_;
  T mark_;                             // added to marked classes
  double each_ = 0.0;                  // 1 / rows that count
  std::vector<double> mark_gradient_;  // of each part or block

  // Of by_classes(), kept from chunk to chunk.
  std::int64_t block_ = 0, blocks_ = 0;
  Tensor logits_, dh_parts_;
  std::vector<RowStats> stats_;
  std::vector<double> target_logit_;
};

}  // namespace

double linear_cross_entropy(const Tensor& h, const Tensor& w, const Tensor& b, const CrossEntropyTargets& targets,
                            LinearCrossEntropyGradients& to) {
  return dispatch_float("linear_cross_entropy", h.dtype(),
                        [&](auto type) { return LinearCrossEntropy<decltype(type)>(h, w, b, targets, to).run(); });
}

}  // namespace tessera::cpu
