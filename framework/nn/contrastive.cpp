#include "framework/nn/contrastive.h"

#include <cmath>
#include <numeric>
#include <string>

#include "tensor/core/dispatch.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/reduce/reduce.h"
#include "tensor/ops/softmax/softmax.h"

namespace tessera {
namespace {

constexpr double kNever = -1e30;  // a logit whose share is nothing, and whose arithmetic stays finite
constexpr double kVolumeFloor = 1e-6;

void check_rows(const char* what, const Tensor& a, const Tensor& b) {
  check(a.shape().rank() == 2 && a.shape() == b.shape(), what, ": rows ", a.shape().text(), " and ", b.shape().text(),
        ", expected the same (N, D)");
}

// Mean cross-entropy of each row's logits with its own place as the target.
Tensor own_place(const Tensor& logits, const Tensor& mask) {
  std::vector<std::int32_t> target(static_cast<std::size_t>(logits.rows()));
  std::iota(target.begin(), target.end(), 0);
  return cross_entropy(mask ? add(logits, mask) : logits, target);
}

Tensor square_root(const Tensor& x) { return exp(scale(log(x), 0.5)); }
Tensor positive(const Tensor& x) { return activate(x, Activation::relu); }

// Cosines among the others of one item (N), made into what the volumes need: det of their Gram matrix and its adjugate.
// With s_m = anchor . other_m: det G = det O - sum_mn adj(O)_mn s_m s_n.
struct OthersGram {
  Tensor determinant;                         // (N)
  std::vector<std::vector<Tensor>> adjugate;  // upper triangle
};

OthersGram gram_of_others(const std::vector<Tensor>& cosines, std::size_t others, const Tensor& one) {
  if (others == 1) return {one, {{one}}};
  if (others == 2) {
    const Tensor& c = cosines[0];
    return {subtract(one, square(c)), {{one, scale(c, -1.0)}, {Tensor(), one}}};
  }
  const Tensor &c01 = cosines[0], &c02 = cosines[1], &c12 = cosines[2];
  const Tensor squares = add(add(square(c01), square(c02)), square(c12));
  const Tensor determinant = add(subtract(one, squares), scale(multiply(multiply(c01, c02), c12), 2.0));
  return {determinant,
          {{subtract(one, square(c12)), subtract(multiply(c02, c12), c01), subtract(multiply(c01, c12), c02)},
           {Tensor(), subtract(one, square(c02)), subtract(multiply(c01, c02), c12)},
           {Tensor(), Tensor(), subtract(one, square(c01))}}};
}

}  // namespace

Tensor duplicate_mask(const std::vector<std::span<const std::int32_t>>& groups, std::int64_t rows, DType dtype) {
  Tensor mask = Tensor::zeros({rows, rows}, dtype);
  for (const auto& group : groups)
    check(static_cast<std::int64_t>(group.size()) == rows, "duplicate_mask: ", group.size(), " groups for ", rows,
          " rows");
  dispatch_float("duplicate_mask", dtype, [&](auto type) {
    using T = decltype(type);
    for (const auto& group : groups)
      for (std::size_t i = 0; i < group.size(); ++i)
        for (std::size_t j = 0; j < group.size(); ++j)
          if (i != j && group[i] == group[j]) mask.data<T>()[i * group.size() + j] = static_cast<T>(kNever);
  });
  return mask;
}

Tensor info_nce(const Tensor& a, const Tensor& b, double temperature, const Tensor& mask) {
  check_rows("info_nce", a, b);
  check(temperature > 0.0, "info_nce: temperature is ", temperature, ", expected more than 0");
  const Tensor forward = own_place(scale(matmul(a, b, false, true), 1.0 / temperature), mask);
  const Tensor backward = own_place(scale(matmul(b, a, false, true), 1.0 / temperature), mask);
  return scale(add(forward, backward), 0.5);
}

Tensor info_nce_one_way(const Tensor& a, const Tensor& b, double temperature, std::span<const std::int32_t> answer) {
  const char* what = "info_nce_one_way";
  check(a.shape().rank() == 2 && b.shape().rank() == 2 && a.columns() == b.columns(), what, ": rows ", a.shape().text(),
        " and ", b.shape().text(), ", expected one width");
  check(temperature > 0.0, what, ": temperature is ", temperature, ", expected more than 0");
  std::vector<std::int32_t> target(answer.begin(), answer.end());
  if (target.empty()) {
    target.resize(static_cast<std::size_t>(a.rows()));
    std::iota(target.begin(), target.end(), 0);
  }
  check(static_cast<std::int64_t>(target.size()) == a.rows(), what, ": ", target.size(), " answers for ", a.rows(),
        " rows");
  return linear_cross_entropy(scale(a, 1.0 / temperature), b, {}, target);
}

Tensor uniformity(const Tensor& z) {
  const std::int64_t rows = z.rows();
  check(z.shape().rank() == 2 && rows >= 2, "uniformity: z ", z.shape().text(), ", expected (N, D) with two rows");
  Tensor shift = Tensor::full({rows, rows}, -4.0, z.dtype());  // |a - b|^2 = 2 - 2 a . b
  dispatch_float("uniformity", z.dtype(), [&](auto type) {
    using T = decltype(type);
    for (std::int64_t i = 0; i < rows; ++i) shift.data<T>()[i * rows + i] = static_cast<T>(kNever);
  });
  const Tensor exponent = add(scale(matmul(z, z, false, true), 4.0), shift);
  const double pairs = static_cast<double>(rows) * static_cast<double>(rows - 1);
  const Tensor all = log_sum_exp(exponent.reshape({1, rows * rows}));
  return subtract(sum(all), Tensor::scalar(std::log(pairs), z.dtype()));
}

Tensor gram_volumes(const Tensor& anchor, const std::vector<Tensor>& others, bool transposed) {
  check(!others.empty() && others.size() <= 3, "gram_volumes: ", others.size(), " others, expected 1 to 3");
  for (const Tensor& other : others) check_rows("gram_volumes", anchor, other);
  const std::int64_t rows = anchor.rows();
  const Tensor one = Tensor::full({rows}, 1.0, anchor.dtype()), ones = Tensor::full({rows, rows}, 1.0, anchor.dtype());
  // A number of each item's others, times a matrix of pairs.
  const auto by_others = [&](const Tensor& pairs, const Tensor& factor) {
    return transposed ? scale_rows(pairs, factor) : multiply(pairs, factor);
  };

  std::vector<Tensor> cosine, between;
  Tensor against;  // sum of max(0, -cos)
  const auto blame = [&](const Tensor& pairs) { against = against ? add(against, pairs) : pairs; };
  for (const Tensor& other : others) {
    const Tensor s = transposed ? matmul(other, anchor, false, true) : matmul(anchor, other, false, true);
    cosine.push_back(positive(s));
    blame(positive(scale(s, -1.0)));
  }
  for (std::size_t m = 0; m < others.size(); ++m)
    for (std::size_t n = m + 1; n < others.size(); ++n) {
      const Tensor c = row_dot(others[m], others[n]);
      between.push_back(positive(c));
      blame(by_others(ones, positive(scale(c, -1.0))));
    }

  const OthersGram gram = gram_of_others(between, others.size(), one);
  Tensor determinant = by_others(ones, gram.determinant);
  for (std::size_t m = 0; m < others.size(); ++m)
    for (std::size_t n = m; n < others.size(); ++n) {
      const Tensor product = m == n ? square(cosine[m]) : scale(multiply(cosine[m], cosine[n]), 2.0);
      determinant = subtract(determinant, by_others(product, gram.adjugate[m][n]));
    }
  const Tensor floor = Tensor::full({rows, rows}, kVolumeFloor, anchor.dtype());
  return add(square_root(add(positive(determinant), floor)), against);
}

Tensor gram_loss(const Tensor& anchor, const std::vector<Tensor>& others, double temperature, const Tensor& mask) {
  check(temperature > 0.0, "gram_loss: temperature is ", temperature, ", expected more than 0");
  const Tensor forward = own_place(scale(gram_volumes(anchor, others, false), -1.0 / temperature), mask);
  const Tensor backward = own_place(scale(gram_volumes(anchor, others, true), -1.0 / temperature), mask);
  return scale(add(forward, backward), 0.5);
}

}  // namespace tessera
