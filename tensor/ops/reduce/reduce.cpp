#include "tensor/ops/reduce/reduce.h"

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/elementwise/elementwise.h"

namespace tessera {
namespace {

Tensor scaled_sum(const char* name, const Tensor& x, double factor) {
  Tensor y(Shape{}, x.dtype(), x.device());
  TESSERA_ON_DEVICE(name, x.device(), sum_all(x, factor, y));
  return record(name, y, {&x}, [name, factor, shape = x.shape()](const Tensor& dy, Grads& dx) {
    Tensor g(shape, dy.dtype(), dy.device());
    TESSERA_ON_DEVICE(name, dy.device(), repeat_scalar(dy, factor, g));
    dx[0].add(std::move(g));
  });
}

void check_rows(const char* name, const Tensor& x) {
  check_present(name, "x", x);
  check(x.shape().rank() >= 1, name, ": x is a scalar, expected (N, D)");
}

Tensor segments(const char* name, const Tensor& x, std::span<const std::int64_t> offset, bool mean) {
  check_present(name, "x", x);
  check(x.shape().rank() == 2, name, ": x ", x.shape().text(), ", expected (N, D)");
  check_offset(name, offset, x.rows());
  Tensor y({static_cast<std::int64_t>(offset.size()) - 1, x.columns()}, x.dtype(), x.device());
  TESSERA_ON_DEVICE(name, x.device(), segment_sum(x, offset, mean, y));
  std::vector<std::int64_t> kept;
  if (recording({&x})) kept.assign(offset.begin(), offset.end());
  return record(name, y, {&x}, [name, mean, kept = std::move(kept), shape = x.shape()](const Tensor& dy, Grads& dx) {
    Tensor g(shape, dy.dtype(), dy.device());
    TESSERA_ON_DEVICE(name, dy.device(), segment_spread(dy, kept, mean, g));
    dx[0].add(std::move(g));
  });
}

}  // namespace

Tensor sum(const Tensor& x) {
  check_present("sum", "x", x);
  return scaled_sum("sum", x, 1.0);
}

Tensor mean(const Tensor& x) {
  check_present("mean", "x", x);
  check(x.numel() > 0, "mean: x ", x.shape().text(), " has no elements");
  return scaled_sum("mean", x, 1.0 / static_cast<double>(x.numel()));
}

Tensor sum_columns(const Tensor& x) {
  check_rows("sum_columns", x);
  Tensor y({x.columns()}, x.dtype(), x.device());
  TESSERA_ON_DEVICE("sum_columns", x.device(), sum_columns(x, y));
  return record("sum_columns", y, {&x}, [shape = x.shape()](const Tensor& dy, Grads& dx) {
    Tensor g(shape, dy.dtype(), dy.device());
    TESSERA_ON_DEVICE("sum_columns", dy.device(), repeat_row(dy, g));
    dx[0].add(std::move(g));
  });
}

Tensor row_sum(const Tensor& x) {
  check_rows("row_sum", x);
  Tensor y({x.rows()}, x.dtype(), x.device());
  TESSERA_ON_DEVICE("row_sum", x.device(), row_sum(x, y));
  return record("row_sum", y, {&x}, [shape = x.shape()](const Tensor& dy, Grads& dx) {
    Tensor g(shape, dy.dtype(), dy.device());
    TESSERA_ON_DEVICE("row_sum", dy.device(), repeat_column(dy, g));
    dx[0].add(std::move(g));
  });
}

Tensor row_dot(const Tensor& a, const Tensor& b) {
  check_agree("row_dot", "a", a, "b", b);
  check(a.shape() == b.shape() && a.shape().rank() >= 1, "row_dot: a ", a.shape().text(), ", b ", b.shape().text(),
        ", expected two times (N, D)");
  Tensor y({a.rows()}, a.dtype(), a.device());
  TESSERA_ON_DEVICE("row_dot", a.device(), row_dot(a, b, y));
  return record("row_dot", y, {&a, &b}, [a = a.detach(), b = b.detach()](const Tensor& dy, Grads& dx) {
    if (dx[0]) dx[0].add(scale_rows(b, dy));
    if (dx[1]) dx[1].add(scale_rows(a, dy));
  });
}

Tensor segment_mean(const Tensor& x, std::span<const std::int64_t> offset) {
  return segments("segment_mean", x, offset, true);
}
Tensor segment_sum(const Tensor& x, std::span<const std::int64_t> offset) {
  return segments("segment_sum", x, offset, false);
}

}  // namespace tessera
