#include "tensor/ops/range_cross_entropy/range_cross_entropy.h"

#include <algorithm>
#include <numeric>

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"

namespace tessera {
namespace {

constexpr const char* kOp = "range_cross_entropy";

void check_choices(std::span<const RangeChoice> choices, std::span<const std::int32_t> order, std::int64_t rows) {
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const RangeChoice& c = choices[i];
    check(c.begin >= 0 && c.begin <= c.target && c.target < c.end && c.end <= rows, kOp, ": query ", i, " chooses ",
          c.target, " from ", c.begin, " .. ", c.end, " of ", rows, " rows");
  }
  for (std::size_t i = 1; i < order.size(); ++i) {
    const RangeChoice &a = choices[static_cast<std::size_t>(order[i - 1])],
                      &b = choices[static_cast<std::size_t>(order[i])];
    check(a.end <= b.begin || (a.begin == b.begin && a.end == b.end), kOp, ": ranges ", a.begin, " .. ", a.end, " and ",
          b.begin, " .. ", b.end, " overlap; expected equal or disjoint ranges");
  }
}

}  // namespace

Tensor range_cross_entropy(const Tensor& q, const Tensor& w, std::span<const RangeChoice> choices) {
  check_agree(kOp, "q", q, "w", w);
  check(q.shape().rank() == 2 && w.shape().rank() == 2 && q.dim(1) == w.dim(1), kOp, ": q ", q.shape().text(), ", w ",
        w.shape().text(), ": expected two matrices of one width");
  check(static_cast<std::int64_t>(choices.size()) == q.rows(), kOp, ": ", choices.size(), " choices for ", q.rows(),
        " queries");
  require_cpu_kernel(kOp, q.device());
  std::vector<std::int32_t> order(choices.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t i, std::int32_t j) {
    return choices[static_cast<std::size_t>(i)].begin < choices[static_cast<std::size_t>(j)].begin;
  });
  check_choices(choices, order, w.rows());
  std::vector<std::int64_t> first{0};
  for (const RangeChoice& c : choices) first.push_back(first.back() + c.end - c.begin);
  Tensor p({first.back()}, q.dtype(), q.device());
  const Tensor loss = Tensor::scalar(cpu::range_cross_entropy_forward(q, w, choices, first, p), q.dtype());
  if (!recording({&q, &w})) return loss;
  return record(kOp, loss, {&q, &w},
                [q = q.detach(), w = w.detach(), kept = std::vector<RangeChoice>(choices.begin(), choices.end()),
                 first = std::move(first), order = std::move(order), p](const Tensor& dy, Grads& dx) {
                  Tensor dq;
                  if (dx[0]) dq = Tensor(q.shape(), q.dtype(), q.device());
                  GradSlot::Into dw{Tensor(), 0.0};
                  if (dx[1]) dw = dx[1].into();
                  const double factor = dy.item() / static_cast<double>(std::max<std::size_t>(1, kept.size()));
                  cpu::range_cross_entropy_backward(q, w, kept, first, p, order, factor, dq, dw.buffer, dw.beta);
                  if (dx[0]) dx[0].add(std::move(dq));
                });
}

}  // namespace tessera
