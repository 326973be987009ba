#include <algorithm>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/gemm/backend.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/linear/activation.h"
#include "tensor/ops/linear/linear.h"

namespace tessera::cpu {
namespace {

// y = activation(y + b) on a block of a product with leading dimension ld; z, where wanted, gets y + b.
template <class T, class A>
void finish_block(std::int64_t rows, std::int64_t columns, std::int64_t ld, const T* b, T* y, T* z, A activation) {
  for (std::int64_t i = 0; i < rows; ++i) {
    T* out = y + i * ld;
    T* before = z != nullptr ? z + i * ld : out;
    if (b != nullptr)
      for (std::int64_t j = 0; j < columns; ++j) before[j] += b[j];
    if constexpr (!std::is_same_v<A, detail::None>)
      for (std::int64_t j = 0; j < columns; ++j) out[j] = activation.value(before[j]);
  }
}

// g = dy activation'(z) on whole rows; their column sums are added to `sums` where wanted.
template <class T, class A>
void local_gradient(std::int64_t rows, std::int64_t columns, const T* dy, const T* z, T* g, T* sums, A activation) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* in = dy + i * columns;
    if constexpr (!std::is_same_v<A, detail::None>) {
      const T* before = z + i * columns;
      T* out = g + i * columns;
      for (std::int64_t j = 0; j < columns; ++j) out[j] = in[j] * activation.slope(before[j]);
      in = out;
    }
    if (sums != nullptr)
      for (std::int64_t j = 0; j < columns; ++j) sums[j] += in[j];
  }
}

// to = beta to + part 0 + part 1 + ..., in that order.
template <class T>
void add_parts(const Tensor& parts, const GradSlot::Into& into) {
  const std::int64_t count = parts.dim(0), size = parts.dim(1);
  T* to = into.buffer.data<T>();
  parallel_rows(size, 8192, [&](std::int64_t begin, std::int64_t end) {
    if (into.beta == 0.0) std::fill(to + begin, to + end, T(0));
    for (std::int64_t p = 0; p < count; ++p) {
      const T* from = parts.data<T>() + p * size;
      for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
    }
  });
}

template <class T>
Tensor transposed(const Tensor& w) {
  const std::int64_t rows = w.dim(0), columns = w.dim(1);
  Tensor out({columns, rows}, w.dtype());
  const T* from = w.data<T>();
  T* to = out.data<T>();
  parallel_rows(rows, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = 0; j < columns; ++j)
      for (std::int64_t i = begin; i < end; ++i) to[j * rows + i] = from[i * columns + j];
  });
  return out;
}

template <class T, class A>
class Backward {
 public:
  Backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& z, LinearGradients& to, A activation)
      : dy_(dy), x_(x), w_(w), z_(z ? z.data<T>() : nullptr), to_(to), activation_(activation) {}

  void run() {
    const std::int64_t parts = part_count();
    if (parts >= kFewParts)
      by_parts(parts);
    else
      one_after_another();
  }

 private:
  static constexpr bool kActive = !std::is_same_v<A, detail::None>;
  static constexpr std::int64_t kBlock = 256, kMaxParts = 16, kFewParts = 4;
  static constexpr std::int64_t kMaxPartsSize = 1 << 21;  // elements of all copies of dw together

  // Parts of rows, each with its own dw: as many as keep the cost of adding them small beside the products.
  std::int64_t part_count() const {
    const std::int64_t weights = inputs_ * outputs_;
    const std::int64_t wanted = std::min(kMaxParts, rows_ / (weights <= 32768 ? 96 : 256));
    return std::min(wanted, kMaxPartsSize / std::max<std::int64_t>(weights, 1));
  }

  // One pass over the rows: g of a block is used by all products while it is in the cache, and never stored as a whole.
  void by_parts(std::int64_t parts) {
    const std::int64_t part_rows = (rows_ + parts - 1) / parts;
    const Tensor wt = to_.dx.buffer ? transposed<T>(w_) : Tensor();
    Tensor dw = to_.dw.buffer ? Tensor({parts, inputs_ * outputs_}, dy_.dtype()) : Tensor();
    Tensor db = to_.db.buffer ? Tensor::zeros({parts, outputs_}, dy_.dtype()) : Tensor();
    parallel_for(parts, [&](std::int64_t part) {
      const std::int64_t begin = std::min(part * part_rows, rows_), end = std::min(begin + part_rows, rows_);
      const Tensor scratch = kActive ? Tensor({std::min(kBlock, part_rows), outputs_}, dy_.dtype()) : Tensor();
      T* weights = dw ? dw.template data<T>() + part * inputs_ * outputs_ : nullptr;
      T* sums = db ? db.template data<T>() + part * outputs_ : nullptr;
      if (dw && begin == end) std::fill_n(weights, inputs_ * outputs_, T(0));
      for (std::int64_t row = begin; row < end; row += kBlock)
        block(row, std::min(kBlock, end - row), wt, scratch, weights, row == begin ? T(0) : T(1), sums);
    });
    if (dw) add_parts<T>(dw, to_.dw);
    if (db) add_parts<T>(db, to_.db);
  }

  void block(std::int64_t row, std::int64_t rows, const Tensor& wt, const Tensor& scratch, T* dw, T beta, T* sums) {
    const T* g = dy_.data<T>() + row * outputs_;
    if (kActive || sums != nullptr)
      local_gradient(rows, outputs_, g, kActive ? z_ + row * outputs_ : nullptr, kActive ? scratch.data<T>() : nullptr, sums,
                     activation_);
    if (kActive) g = scratch.data<T>();
    if (to_.dx.buffer)
      gemm_tile({false, false, rows, inputs_, outputs_}, T(1), g, outputs_, wt.data<T>(), inputs_, static_cast<T>(to_.dx.beta),
                to_.dx.buffer.data<T>() + row * inputs_, inputs_);
    if (dw != nullptr)
      gemm_tile({true, false, inputs_, outputs_, rows}, T(1), x_.data<T>() + row * inputs_, inputs_, g, outputs_, beta, dw,
                outputs_);
  }

  // Few rows or large weights: g as a whole, then the products, each with its own tiles.
  void one_after_another() {
    const Tensor whole = kActive ? Tensor({rows_, outputs_}, dy_.dtype()) : dy_;
    if (kActive || to_.db.buffer) {
      const std::int64_t grain = 64, tiles = (rows_ + grain - 1) / grain;
      Tensor db = to_.db.buffer ? Tensor::zeros({tiles, outputs_}, dy_.dtype()) : Tensor();
      parallel_rows(rows_, grain, [&](std::int64_t begin, std::int64_t end) {
        const std::int64_t at = begin * outputs_;
        local_gradient(end - begin, outputs_, dy_.data<T>() + at, kActive ? z_ + at : nullptr,
                       kActive ? whole.data<T>() + at : nullptr, db ? db.data<T>() + begin / grain * outputs_ : nullptr,
                       activation_);
      });
      if (db) add_parts<T>(db, to_.db);
    }
    const T* g = whole.data<T>();
    if (to_.dx.buffer)
      gemm({false, true, rows_, inputs_, outputs_}, T(1), g, outputs_, w_.data<T>(), outputs_, static_cast<T>(to_.dx.beta),
           to_.dx.buffer.data<T>(), inputs_);
    if (to_.dw.buffer)
      gemm({true, false, inputs_, outputs_, rows_}, T(1), x_.data<T>(), inputs_, g, outputs_, static_cast<T>(to_.dw.beta),
           to_.dw.buffer.data<T>(), outputs_);
  }

  const Tensor &dy_, &x_, &w_;
  const T* z_;
  LinearGradients& to_;
  A activation_;
  const std::int64_t rows_ = x_.rows(), inputs_ = w_.dim(0), outputs_ = w_.dim(1);
};

}  // namespace

void linear_forward(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, Tensor& y, Tensor& z) {
  dispatch_float("linear", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = x.rows(), inputs = w.dim(0), outputs = w.dim(1);
    const T *in = x.data<T>(), *weights = w.data<T>(), *bias = b ? b.data<T>() : nullptr;
    T* out = y.data<T>();
    T* before = z ? z.data<T>() : nullptr;
    T* product = z ? before : out;
    const detail::GemmPlan plan = detail::gemm_plan(rows, outputs, inputs);
    const auto finish = [&](std::int64_t row, std::int64_t m, std::int64_t column, std::int64_t n) {
      const std::int64_t at = row * outputs + column;
      detail::with_activation(activation, [&](auto f) {
        finish_block(m, n, outputs, bias ? bias + column : nullptr, out + at, before ? before + at : nullptr, f);
      });
    };
    if (plan.parts > 1) {
      gemm({false, false, rows, outputs, inputs}, T(1), in, inputs, weights, outputs, T(0), product, outputs);
      parallel_rows(rows, 64, [&](std::int64_t begin, std::int64_t end) { finish(begin, end - begin, 0, outputs); });
      return;
    }
    parallel_for(rows == 0 ? 0 : plan.row_tiles * plan.column_tiles, [&](std::int64_t tile) {
      const std::int64_t row = tile / plan.column_tiles * plan.tile_m, column = tile % plan.column_tiles * plan.tile_n;
      const std::int64_t m = std::min(plan.tile_m, rows - row), n = std::min(plan.tile_n, outputs - column);
      gemm_tile({false, false, m, n, inputs}, T(1), in + row * inputs, inputs, weights + column, outputs, T(0),
                product + row * outputs + column, outputs);
      finish(row, m, column, n);
    });
  });
}

void linear_backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& z, Activation activation,
                     LinearGradients& to) {
  dispatch_float("linear", x.dtype(), [&](auto type) {
    using T = decltype(type);
    detail::with_activation(activation, [&](auto f) { Backward<T, decltype(f)>(dy, x, w, z, to, f).run(); });
  });
}

}  // namespace tessera::cpu
