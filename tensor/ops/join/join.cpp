#include "tensor/ops/join/join.h"

#include "tensor/autograd/tape.h"
#include "tensor/core/agree.h"
#include "tensor/core/dispatch.h"
#include "tensor/ops/accumulate/accumulate.h"

namespace tessera {
namespace {

void check_rank(const char* name, const char* what, const Tensor& x) {
  check_present(name, what, x);
  const int rank = x.shape().rank();
  check(rank == 1 || rank == 2, name, ": ", what, " ", x.shape().text(), ", expected rank 1 or 2");
}

// The sizes at which the parts begin in the whole, and the whole's size last.
struct Layout {
  std::vector<std::int64_t> begin{0};
  std::int64_t size() const { return begin.back(); }
};

Layout lay_out(const char* name, const std::vector<Tensor>& parts, int axis) {
  check(!parts.empty(), name, ": no parts");
  Layout layout;
  for (const Tensor& part : parts) {
    check_rank(name, "part", part);
    check_agree(name, "first part", parts[0], "part", part);
    const bool fits = part.shape().rank() == parts[0].shape().rank() &&
                      (part.shape().rank() == 1 || part.dim(1 - axis) == parts[0].dim(1 - axis));
    check(fits, name, ": part ", layout.begin.size() - 1, " is ", part.shape().text(), ", the first is ",
          parts[0].shape().text(), ": they must have the same number of ", axis == 0 ? "columns" : "rows");
    layout.begin.push_back(layout.size() + (axis == 0 ? part.dim(0) : part.columns()));
  }
  return layout;
}

// Recorded by hand, for record() takes a fixed list of inputs.
template <class F>
Tensor record_all(const char* name, Tensor y, const std::vector<Tensor>& parts, F backward) {
  struct Closure final : Tape::Node {
    F function;
    explicit Closure(F f) : function(std::move(f)) {}
    void backward(const Tensor& dy, Grads& dx) override { function(dy, dx); }
  };
  bool wanted = false;
  for (const Tensor& part : parts) wanted = wanted || recording({&part});
  if (!wanted) return y;
  auto node = std::make_unique<Closure>(std::move(backward));
  node->name = name;
  node->shape = y.shape();
  Tape& tape = *Tape::current();
  for (const Tensor& part : parts)
    node->inputs.push_back({tape.index_of(part), part.shape(), part.dtype(), part.device()});
  return y.with_node(tape.add(std::move(node)));
}

void check_range(const char* name, const Tensor& x, std::int64_t begin, std::int64_t end, std::int64_t size) {
  check(0 <= begin && begin <= end && end <= size, name, ": ", begin, " .. ", end, " of x ", x.shape().text(),
        ", expected 0 .. ", size);
}

// The buffer of a gradient of which only a part will be written: zeros where it is fresh.
Tensor buffer_of(const GradSlot& slot) {
  auto [buffer, beta] = slot.into();
  if (beta == 0.0) buffer.fill(0.0);
  return buffer;
}

}  // namespace

Tensor concat_columns(const std::vector<Tensor>& parts) {
  const Layout layout = lay_out("concat_columns", parts, 1);
  const Tensor& first = parts[0];
  Tensor y(first.shape().rank() == 1 ? Shape{layout.size()} : Shape{first.dim(0), layout.size()}, first.dtype(),
           first.device());
  for (std::size_t i = 0; i < parts.size(); ++i)
    TESSERA_ON_DEVICE("concat_columns", y.device(),
                      move_columns(parts[i], 0, parts[i].columns(), false, y, layout.begin[i]));
  return record_all("concat_columns", y, parts, [begin = layout.begin](const Tensor& dy, Grads& dx) {
    for (std::size_t i = 0; i < dx.size(); ++i) {
      if (!dx[i]) continue;
      auto [buffer, beta] = dx[i].into();
      TESSERA_ON_DEVICE("concat_columns", dy.device(),
                        move_columns(dy, begin[i], begin[i + 1] - begin[i], beta != 0.0, buffer, 0));
    }
  });
}

Tensor concat_rows(const std::vector<Tensor>& parts) {
  const Layout layout = lay_out("concat_rows", parts, 0);
  const Tensor& first = parts[0];
  Tensor y(first.shape().rank() == 1 ? Shape{layout.size()} : Shape{layout.size(), first.dim(1)}, first.dtype(),
           first.device());
  for (std::size_t i = 0; i < parts.size(); ++i) y.row_range(layout.begin[i], layout.begin[i + 1]).copy_from(parts[i]);
  return record_all("concat_rows", y, parts, [begin = layout.begin](const Tensor& dy, Grads& dx) {
    for (std::size_t i = 0; i < dx.size(); ++i)
      if (dx[i]) dx[i].add(dy.row_range(begin[i], begin[i + 1]));
  });
}

Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end) {
  check_rank("slice_columns", "x", x);
  check_range("slice_columns", x, begin, end, x.columns());
  Tensor y(x.shape().rank() == 1 ? Shape{end - begin} : Shape{x.dim(0), end - begin}, x.dtype(), x.device());
  TESSERA_ON_DEVICE("slice_columns", x.device(), move_columns(x, begin, end - begin, false, y, 0));
  return record("slice_columns", y, {&x}, [begin, end](const Tensor& dy, Grads& dx) {
    Tensor buffer = buffer_of(dx[0]);
    TESSERA_ON_DEVICE("slice_columns", dy.device(), move_columns(dy, 0, end - begin, true, buffer, begin));
  });
}

Tensor slice_rows(const Tensor& x, std::int64_t begin, std::int64_t end) {
  check_rank("slice_rows", "x", x);
  check_range("slice_rows", x, begin, end, x.dim(0));
  return record("slice_rows", x.row_range(begin, end), {&x}, [begin, end](const Tensor& dy, Grads& dx) {
    Tensor rows = buffer_of(dx[0]).row_range(begin, end);
    accumulate(rows, dy);
  });
}

Tensor grow_columns(const Tensor& before, std::span<const std::int32_t> rows, const Tensor& x, std::int64_t begin,
                    std::int64_t end) {
  const char* name = "grow_columns";
  check_agree(name, "before", before, "x", x);
  check(before.shape().rank() == 2 && x.shape().rank() == 2, name, ": before ", before.shape().text(), ", x ",
        x.shape().text(), ", expected two matrices");
  check(x.dim(0) == static_cast<std::int64_t>(rows.size()), name, ": ", rows.size(), " rows for x ", x.shape().text());
  check_range(name, x, begin, end, x.columns());
  for (std::size_t i = 0; i < rows.size(); ++i)
    check(rows[i] >= 0 && rows[i] < before.dim(0), name, ": row ", rows[i], " at ", i, ", expected 0 to ",
          before.dim(0) - 1);
  require_cpu_kernel(name, x.device());
  Tensor y({x.dim(0), before.columns() + end - begin}, x.dtype(), x.device());
  cpu::grow_columns(before, rows, x, begin, y);
  return y;
}

}  // namespace tessera
