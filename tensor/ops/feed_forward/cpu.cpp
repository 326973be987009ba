#include <algorithm>

#include "tensor/core/dispatch.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/feed_forward/feed_forward.h"
#include "tensor/ops/linear/blocks.h"

namespace tessera::cpu {
namespace {

constexpr std::int64_t kBlock = 128;      // rows whose middle is alive, in the cache
constexpr std::int64_t kManyRows = 1024;  // below, two products with tiles of their own share the work better

// Both products of a block of rows while its middle is in the cache.
template <class T, class A>
void forward_blocks(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2, Tensor& y,
                    Tensor& z, A activation) {
  const std::int64_t in = w1.dim(0), middle = w1.dim(1), out = w2.dim(1);
  const T *bias1 = b1 ? b1.data<T>() : nullptr, *bias2 = b2 ? b2.data<T>() : nullptr;
  parallel_rows(x.dim(0), kBlock, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t rows = end - begin;
    const Tensor scratch({rows, middle}, x.dtype());
    T* after = scratch.data<T>();
    T* before = z ? z.data<T>() + begin * middle : after;
    T* to = y.data<T>() + begin * out;
    gemm_tile({false, false, rows, middle, in}, T(1), x.data<T>() + begin * in, in, w1.data<T>(), middle, T(0), before,
              middle);
    detail::finish_block(rows, middle, middle, bias1, after, before, activation);
    gemm_tile({false, false, rows, out, middle}, T(1), after, middle, w2.data<T>(), out, T(0), to, out);
    detail::finish_block<T>(rows, out, out, bias2, to, nullptr, detail::None{});
  });
}

// As linear's backward pass by parts of rows, for both layers at once.
template <class T, class A>
class Backward {
 public:
  Backward(const Tensor& dy, const Tensor& x, const Tensor& w1, const Tensor& w2, const Tensor& z,
           FeedForwardGradients& to, A activation)
      : dy_(dy), x_(x), w1_(w1), w2_(w2), z_(z), to_(to), activation_(activation) {}

  void run(std::int64_t parts) {
    const std::int64_t part_rows = (rows_ + parts - 1) / parts;
    const auto copies = [&](const GradSlot::Into& into) {
      return into.buffer ? Tensor({parts, into.buffer.numel()}, dy_.dtype()) : Tensor();
    };
    w1_t_ = detail::transposed<T>(w1_);
    w2_t_ = detail::transposed<T>(w2_);
    Tensor dw1 = copies(to_.dw1), dw2 = copies(to_.dw2), db1 = copies(to_.db1), db2 = copies(to_.db2);
    for (Tensor* sums : {&db1, &db2})
      if (*sums) sums->fill(0.0);
    parallel_for(parts, [&](std::int64_t part) {
      const auto at = [&](const Tensor& sums) { return sums ? sums.data<T>() + part * sums.dim(1) : nullptr; };
      const std::int64_t begin = std::min(part * part_rows, rows_), end = std::min(begin + part_rows, rows_);
      const Tensor gradient({kBlock, middle_}, dy_.dtype()), value({kBlock, middle_}, dy_.dtype());
      for (std::int64_t row = begin; row < end; row += kBlock)
        block(row, std::min(kBlock, end - row), gradient.data<T>(), value.data<T>(), at(dw1), at(db1), at(dw2), at(db2),
              row == begin ? T(0) : T(1));
    });
    if (dw1) detail::add_parts<T>(dw1, to_.dw1);
    if (db1) detail::add_parts<T>(db1, to_.db1);
    if (dw2) detail::add_parts<T>(dw2, to_.dw2);
    if (db2) detail::add_parts<T>(db2, to_.db2);
  }

 private:
  void block(std::int64_t row, std::int64_t rows, T* g, T* value, T* dw1, T* db1, T* dw2, T* db2, T beta) const {
    const T *dy = dy_.data<T>() + row * out_, *z = z_.data<T>() + row * middle_, *x = x_.data<T>() + row * in_;
    gemm_tile({false, false, rows, middle_, out_}, T(1), dy, out_, w2_t_.data<T>(), middle_, T(0), g, middle_);
    for (std::int64_t i = 0; i < rows; ++i)  // activation and slope of a row together: they share their exponentials
      row_of_middle(g + i * middle_, z + i * middle_, value + i * middle_, db1);
    if (db2 != nullptr) detail::local_gradient<T>(rows, out_, dy, nullptr, nullptr, db2, detail::None{});
    if (dw2 != nullptr) gemm_tile({true, false, middle_, out_, rows}, T(1), value, middle_, dy, out_, beta, dw2, out_);
    if (dw1 != nullptr) gemm_tile({true, false, in_, middle_, rows}, T(1), x, in_, g, middle_, beta, dw1, middle_);
    if (to_.dx.buffer)
      gemm_tile({false, false, rows, in_, middle_}, T(1), g, middle_, w1_t_.data<T>(), in_, static_cast<T>(to_.dx.beta),
                to_.dx.buffer.data<T>() + row * in_, in_);
  }

  void row_of_middle(T* __restrict g, const T* __restrict z, T* __restrict value, T* __restrict db1) const {
    for (std::int64_t j = 0; j < middle_; ++j) {
      value[j] = activation_.value(z[j]);
      g[j] *= activation_.slope(z[j]);
    }
    if (db1 != nullptr)
      for (std::int64_t j = 0; j < middle_; ++j) db1[j] += g[j];
  }

  const Tensor &dy_, &x_, &w1_, &w2_, &z_;
  FeedForwardGradients& to_;
  A activation_;
  Tensor w1_t_, w2_t_;
  const std::int64_t rows_ = x_.dim(0), in_ = w1_.dim(0), middle_ = w1_.dim(1), out_ = w2_.dim(1);
};

// Few rows or large weights: one layer after the other.
template <class T>
void backward_layers(const Tensor& dy, const Tensor& x, const Tensor& w1, const Tensor& w2, const Tensor& z,
                     Activation activation, FeedForwardGradients& to) {
  const Tensor value(z.shape(), z.dtype());
  detail::with_activation(activation, [&](auto f) {
    parallel_rows(z.numel(), 16384, [&](std::int64_t begin, std::int64_t end) {
      const T* before = z.data<T>();
      T* after = value.data<T>();
      for (std::int64_t i = begin; i < end; ++i) after[i] = f.value(before[i]);
    });
  });
  LinearGradients second{{Tensor(z.shape(), z.dtype()), 0.0}, to.dw2, to.db2}, first{to.dx, to.dw1, to.db1};
  linear_backward(dy, value, w2, {}, Activation::none, second);
  linear_backward(second.dx.buffer, x, w1, z, activation, first);
}

}  // namespace

void feed_forward(const Tensor& x, const Tensor& w1, const Tensor& b1, const Tensor& w2, const Tensor& b2,
                  Activation activation, Tensor& y, Tensor& z) {
  dispatch_float("feed_forward", x.dtype(), [&](auto type) {
    using T = decltype(type);
    if (x.dim(0) >= kManyRows) {
      detail::with_activation(activation, [&](auto f) { forward_blocks<T>(x, w1, b1, w2, b2, y, z, f); });
      return;
    }
    Tensor middle({x.dim(0), w1.dim(1)}, x.dtype()), none;
    linear_forward(x, w1, b1, activation, middle, z);
    linear_forward(middle, w2, b2, Activation::none, y, none);
  });
}

void feed_forward_backward(const Tensor& dy, const Tensor& x, const Tensor& w1, const Tensor& w2, const Tensor& z,
                           Activation activation, FeedForwardGradients& to) {
  dispatch_float("feed_forward", x.dtype(), [&](auto type) {
    using T = decltype(type);
    const std::int64_t parts = detail::row_parts(x.dim(0), w1.numel() + w2.numel());
    if (parts < detail::kFewParts) {
      backward_layers<T>(dy, x, w1, w2, z, activation, to);
      return;
    }
    detail::with_activation(activation, [&](auto f) { Backward<T, decltype(f)>(dy, x, w1, w2, z, to, f).run(parts); });
  });
}

}  // namespace tessera::cpu
