#include <algorithm>

#include "tensor/core/dispatch.h"
#include "tensor/core/parallel.h"
#include "tensor/gemm/backend.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/linear/blocks.h"

namespace tessera::cpu {
namespace {

template <class T, class A>
class Backward {
 public:
  Backward(const Tensor& dy, const Tensor& x, const Tensor& w, const Tensor& z, LinearGradients& to, A activation)
      : dy_(dy), x_(x), w_(w), z_(z ? z.data<T>() : nullptr), to_(to), activation_(activation) {}

  void run() {
    const std::int64_t parts = detail::row_parts(rows_, inputs_ * outputs_);
    if (parts >= detail::kFewParts) by_parts(parts);
    else one_after_another();
  }

 private:
  static constexpr bool kActive = !std::is_same_v<A, detail::None>;
  static constexpr std::int64_t kBlock = 256;  // rows

  // One pass over the rows: g of a block is used by all products while it is in the cache, and never stored as a whole.
  void by_parts(std::int64_t parts) {
    const std::int64_t part_rows = (rows_ + parts - 1) / parts;
    const Tensor wt = to_.dx.buffer ? detail::transposed<T>(w_) : Tensor();
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
    if (dw) detail::add_parts<T>(dw, to_.dw);
    if (db) detail::add_parts<T>(db, to_.db);
  }

  void block(std::int64_t row, std::int64_t rows, const Tensor& wt, const Tensor& scratch, T* dw, T beta, T* sums) {
    const T* g = dy_.data<T>() + row * outputs_;
    if (kActive || sums != nullptr)
      detail::local_gradient(rows, outputs_, g, kActive ? z_ + row * outputs_ : nullptr,
                             kActive ? scratch.data<T>() : nullptr, sums, activation_);
    if (kActive) g = scratch.data<T>();
    if (to_.dx.buffer)
      gemm_tile({false, false, rows, inputs_, outputs_}, T(1), g, outputs_, wt.data<T>(), inputs_,
                static_cast<T>(to_.dx.beta), to_.dx.buffer.data<T>() + row * inputs_, inputs_);
    if (dw != nullptr)
      gemm_tile({true, false, inputs_, outputs_, rows}, T(1), x_.data<T>() + row * inputs_, inputs_, g, outputs_, beta,
                dw, outputs_);
  }

  // Few rows or large weights: g as a whole, then the products, each with its own tiles.
  void one_after_another() {
    const Tensor whole = kActive ? Tensor({rows_, outputs_}, dy_.dtype()) : dy_;
    if (kActive || to_.db.buffer) {
      const std::int64_t grain = 64, tiles = (rows_ + grain - 1) / grain;
      Tensor db = to_.db.buffer ? Tensor::zeros({tiles, outputs_}, dy_.dtype()) : Tensor();
      parallel_rows(rows_, grain, [&](std::int64_t begin, std::int64_t end) {
        const std::int64_t at = begin * outputs_;
        detail::local_gradient(end - begin, outputs_, dy_.data<T>() + at, kActive ? z_ + at : nullptr,
                               kActive ? whole.data<T>() + at : nullptr,
                               db ? db.data<T>() + begin / grain * outputs_ : nullptr, activation_);
      });
      if (db) detail::add_parts<T>(db, to_.db);
    }
    const T* g = whole.data<T>();
    if (to_.dx.buffer)
      gemm({false, true, rows_, inputs_, outputs_}, T(1), g, outputs_, w_.data<T>(), outputs_,
           static_cast<T>(to_.dx.beta), to_.dx.buffer.data<T>(), inputs_);
    if (to_.dw.buffer)
      gemm({true, false, inputs_, outputs_, rows_}, T(1), x_.data<T>(), inputs_, g, outputs_,
           static_cast<T>(to_.dw.beta), to_.dw.buffer.data<T>(), outputs_);
  }

  const Tensor &dy_, &x_, &w_;
  const T* z_;
  LinearGradients& to_;
  A activation_;
  const std::int64_t rows_ = x_.rows(), inputs_ = w_.dim(0), outputs_ = w_.dim(1);
};

}  // namespace

void linear_forward(const Tensor& x, const Tensor& w, const Tensor& b, Activation activation, Tensor& y, Tensor& z,
                    const Tensor& a, const DropoutKey& drop) {
  dispatch_float("linear", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t rows = x.rows(), inputs = w.dim(0), outputs = w.dim(1);
    const T *in = x.data<T>(), *weights = w.data<T>(), *bias = b ? b.data<T>() : nullptr;
    T* out = y.data<T>();
    T* before = z ? z.data<T>() : nullptr;
    T* product = z ? before : out;
    const T* onto = a ? a.data<T>() : nullptr;
    const T beta = onto != nullptr ? T(1) : T(0);
    const detail::GemmPlan plan = detail::gemm_plan(rows, outputs, inputs);
    const auto drop_rows = [&](std::int64_t begin, std::int64_t end) {
      if (drop.threshold != 0) dropout_range(drop, begin * outputs, end * outputs, out, out);
    };
    const auto start = [&](std::int64_t row, std::int64_t m, std::int64_t column, std::int64_t n) {
      if (onto == nullptr || onto == product) return;
      for (std::int64_t i = row; i < row + m; ++i)
        std::copy_n(onto + i * outputs + column, n, product + i * outputs + column);
    };
    const auto finish = [&](std::int64_t row, std::int64_t m, std::int64_t column, std::int64_t n) {
      const std::int64_t at = row * outputs + column;
      detail::with_activation(activation, [&](auto f) {
        detail::finish_block(m, n, outputs, bias ? bias + column : nullptr, out + at, before ? before + at : nullptr,
                             f);
      });
    };
    if (plan.parts > 1) {
      parallel_rows(rows, 64, [&](std::int64_t begin, std::int64_t end) { start(begin, end - begin, 0, outputs); });
      gemm({false, false, rows, outputs, inputs}, T(1), in, inputs, weights, outputs, beta, product, outputs);
      parallel_rows(rows, 2 * kDropoutChunk, [&](std::int64_t begin, std::int64_t end) {
        finish(begin, end - begin, 0, outputs);
        drop_rows(begin, end);
      });
      return;
    }
    const bool tiles_drop = plan.column_tiles == 1 && plan.tile_m * outputs % kDropoutChunk == 0;
    parallel_for(rows == 0 ? 0 : plan.row_tiles * plan.column_tiles, [&](std::int64_t tile) {
      const std::int64_t row = tile / plan.column_tiles * plan.tile_m, column = tile % plan.column_tiles * plan.tile_n;
      const std::int64_t m = std::min(plan.tile_m, rows - row), n = std::min(plan.tile_n, outputs - column);
      start(row, m, column, n);
      gemm_tile({false, false, m, n, inputs}, T(1), in + row * inputs, inputs, weights + column, outputs, beta,
                product + row * outputs + column, outputs);
      finish(row, m, column, n);
      if (tiles_drop) drop_rows(row, row + m);
    });
    if (drop.threshold != 0 && !tiles_drop) parallel_rows(rows, 2 * kDropoutChunk, drop_rows);
  });
}

// g = dropout'(dy) activation'(z), piece by piece in the cache.
void drop_backward(const DropoutKey& drop, Activation activation, const Tensor& dy, const Tensor& z, Tensor& g) {
  dispatch_float("add_linear", dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const T *from = dy.data<T>(), *before = z ? z.data<T>() : nullptr;
    T* to = g.data<T>();
    parallel_rows(dy.numel(), 64 * kDropoutChunk, [&](std::int64_t begin, std::int64_t end) {
      dropout_range(drop, begin, end, from, to);
      if (before == nullptr) return;
      detail::with_activation(activation, [&](auto f) {
        detail::local_gradient<T>(1, end - begin, to + begin, before + begin, to + begin, nullptr, f);
      });
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
