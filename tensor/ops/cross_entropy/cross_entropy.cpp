#include "tensor/ops/cross_entropy/cross_entropy.h"

#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/dispatch.h"

namespace tessera {
namespace {

CrossEntropyTargets check_targets(const char* op, std::int64_t rows, std::int64_t classes,
                                  std::span<const std::int32_t> target, double smoothing) {
  check(static_cast<std::int64_t>(target.size()) == rows, op, ": ", target.size(), " targets for ", rows, " rows");
  check(smoothing >= 0.0 && smoothing < 1.0, op, ": smoothing ", smoothing, ", expected 0 or more and less than 1");
  CrossEntropyTargets out{target, 0, smoothing};
  for (std::size_t i = 0; i < target.size(); ++i) {
    check(target[i] >= -1 && target[i] < classes, op, ": target ", target[i], " at row ", i, ", expected -1 .. ",
          classes - 1);
    out.count += target[i] >= 0;
  }
  return out;
}

void check_marked(const char* op, const MarkedClasses& marked, std::int64_t rows, std::int64_t classes, DType type) {
  check(marked.value.numel() == 1 && marked.value.dtype() == type, op, ": the value of marked classes is ",
        marked.value.shape().text(), " ", name_of(marked.value.dtype()), ", expected (1) ", name_of(type));
  check(static_cast<std::int64_t>(marked.offset.size()) == rows + 1 && marked.offset.front() == 0 &&
            marked.offset.back() == static_cast<std::int64_t>(marked.column.size()),
        op, ": offsets of marked classes do not fit ", rows, " rows and ", marked.column.size(), " classes");
  for (std::size_t i = 0; i + 1 < marked.offset.size(); ++i)
    for (std::int64_t j = marked.offset[i]; j < marked.offset[i + 1]; ++j) {
      const std::int32_t column = marked.column[static_cast<std::size_t>(j)];
      const std::int32_t before = j > marked.offset[i] ? marked.column[static_cast<std::size_t>(j - 1)] : -1;
      check(column > before && column < classes, op, ": marked class ", column, " at row ", i, " after ", before,
            ", expected a rising list of 0 .. ", classes - 1);
    }
}

void scale_in_place(Tensor& x, double factor) {
  if (!x || factor == 1.0) return;
  dispatch_float("cross_entropy", x.dtype(), [&](auto type) {
    using T = decltype(type);
    for (T& value : x.values<T>()) value *= static_cast<T>(factor);
  });
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, std::span<const std::int32_t> target, double smoothing) {
  check(logits.shape().rank() == 2, "cross_entropy: logits ", logits.shape().text(),
        ", expected a matrix (rows, classes)");
  require_cpu_kernel("cross_entropy", logits.device());
  auto targets = check_targets("cross_entropy", logits.dim(0), logits.dim(1), target, smoothing);
  Tensor log_sum({logits.dim(0)}, logits.dtype());
  const Tensor loss = Tensor::scalar(cpu::cross_entropy_forward(logits, targets, log_sum), logits.dtype());
  if (!recording({&logits})) return loss;
  return record("cross_entropy", loss, {&logits},
                [logits = logits.detach(), log_sum, kept = std::vector<std::int32_t>(target.begin(), target.end()),
                 targets](const Tensor& dy, Grads& dx) mutable {
                  targets.target = kept;
                  Tensor g(logits.shape(), logits.dtype());
                  cpu::cross_entropy_backward(logits, targets, log_sum, dy.item(), g);
                  dx[0].add(std::move(g));
                });
}

Tensor linear_cross_entropy(const Tensor& h, const Tensor& w, const Tensor& b, std::span<const std::int32_t> target,
                            double smoothing, const MarkedClasses& marked) {
  constexpr const char* kOp = "linear_cross_entropy";
  check(h.shape().rank() == 2 && w.shape().rank() == 2, kOp, ": h ", h.shape().text(), ", w ", w.shape().text(),
        ": expected two matrices");
  check(h.dim(1) == w.dim(1), kOp, ": inner sizes differ: h ", h.shape().text(), ", w ", w.shape().text(), ": ",
        h.dim(1), " is not ", w.dim(1));
  check(!b || (b.shape().rank() == 1 && b.dim(0) == w.dim(0)), kOp, ": b ", b.shape().text(), ", expected (", w.dim(0),
        ")");
  check(h.dtype() == w.dtype() && (!b || b.dtype() == h.dtype()), kOp, ": h is ", name_of(h.dtype()), ", w is ",
        name_of(w.dtype()), ": expected one type for h, w and b");
  require_cpu_kernel(kOp, h.device());
  auto targets = check_targets(kOp, h.dim(0), w.dim(0), target, smoothing);
  if (marked.value) {
    check_marked(kOp, marked, h.dim(0), w.dim(0), h.dtype());
    targets.marked = &marked;
  }
  LinearCrossEntropyGradients to;
  if (recording({&h})) to.dh = Tensor(h.shape(), h.dtype());
  if (recording({&w})) to.dw = Tensor(w.shape(), w.dtype());
  if (recording({&b})) to.db = Tensor(b.shape(), b.dtype());
  if (recording({&marked.value})) to.dmarked = Tensor(marked.value.shape(), h.dtype());
  const Tensor loss = Tensor::scalar(cpu::linear_cross_entropy(h, w, b, targets, to), h.dtype());
  return record(kOp, loss, {&h, &w, &b, &marked.value}, [to](const Tensor& dy, Grads& dx) mutable {
    Tensor* gradients[] = {&to.dh, &to.dw, &to.db, &to.dmarked};
    for (std::size_t i = 0; i < 4; ++i) {
      if (!dx[i]) continue;
      scale_in_place(*gradients[i], dy.item());
      dx[i].add(std::move(*gradients[i]));
    }
  });
}

}  // namespace tessera
