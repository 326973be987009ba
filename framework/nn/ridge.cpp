#include "framework/nn/ridge.h"

#include <algorithm>
#include <numeric>

#include "framework/nn/linalg.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

constexpr double kRidge = 1e-3;           // of the mean variance of a column of x
constexpr std::int64_t kFewestRows = 10;  // below this nothing can be measured

struct Cut {
  std::vector<std::int32_t> learnt, held;  // rows, rising
};

Cut cut_rows(std::int64_t rows) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  Random(1, stream_of("probe")).shuffle(std::span(order));
  const auto fifth = static_cast<std::ptrdiff_t>(rows / 5);
  Cut cut{{order.begin() + fifth, order.end()}, {order.begin(), order.begin() + fifth}};
  std::sort(cut.learnt.begin(), cut.learnt.end());
  std::sort(cut.held.begin(), cut.held.end());
  return cut;
}

void subtract_means(Tensor& x, const Tensor& mean) {
  const std::int64_t width = x.columns();
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<double>()[i] -= mean.data<double>()[i % width];
}

Tensor column_means(const Tensor& x) {
  Tensor mean = Tensor::zeros({x.columns()}, DType::f64);
  for (std::int64_t i = 0; i < x.numel(); ++i) mean.data<double>()[i % x.columns()] += x.data<double>()[i];
  for (double& value : mean.values<double>()) value /= static_cast<double>(x.rows());
  return mean;
}

// Both centred by the means of the learnt rows.
struct Held {
  Tensor y, predicted;  // of the rows that are held out
};

Held predict_held(const Tensor& x, const Tensor& y, const Cut& cut) {
  Tensor x_learnt = gather_rows(x, cut.learnt).to(DType::f64), y_learnt = gather_rows(y, cut.learnt).to(DType::f64);
  Tensor x_held = gather_rows(x, cut.held).to(DType::f64), y_held = gather_rows(y, cut.held).to(DType::f64);
  const Tensor x_mean = column_means(x_learnt), y_mean = column_means(y_learnt);
  subtract_means(x_learnt, x_mean), subtract_means(x_held, x_mean);
  subtract_means(y_learnt, y_mean), subtract_means(y_held, y_mean);
  Tensor gram = matmul(x_learnt, x_learnt, true, false);
  const std::int64_t width = gram.columns();
  double trace = 0.0;
  for (std::int64_t j = 0; j < width; ++j) trace += gram.data<double>()[j * width + j];
  const double ridge = trace > 0.0 ? kRidge * trace / static_cast<double>(width) : 1.0;
  for (std::int64_t j = 0; j < width; ++j) gram.data<double>()[j * width + j] += ridge;
  const Tensor weight = solve_symmetric(gram, matmul(x_learnt, y_learnt, true, false));
  return {y_held, matmul(x_held, weight)};
}

void check_rows(const char* what, const Tensor& x, std::int64_t rows) {
  check(x.shape().rank() == 2 && x.rows() == rows, what, ": x ", x.shape().text(), " for ", rows, " rows");
}

}  // namespace

double probe_r2(const Tensor& x, const Tensor& y) {
  check_rows("probe_r2", x, y.rows());
  if (x.rows() < kFewestRows) return 0.0;
  const Held held = predict_held(x, y, cut_rows(x.rows()));
  double error = 0.0, variance = 0.0;
  const Tensor mean = column_means(held.y);
  for (std::int64_t i = 0; i < held.y.numel(); ++i) {
    const double value = held.y.data<double>()[i], centre = mean.data<double>()[i % held.y.columns()];
    error += (value - held.predicted.data<double>()[i]) * (value - held.predicted.data<double>()[i]);
    variance += (value - centre) * (value - centre);
  }
  return variance > 0.0 ? 1.0 - error / variance : 0.0;
}

double probe_accuracy(const Tensor& x, std::span<const std::int32_t> label, int classes) {
  check_rows("probe_accuracy", x, static_cast<std::int64_t>(label.size()));
  if (x.rows() < kFewestRows) return 0.0;
  const Cut cut = cut_rows(x.rows());
  const Held held = predict_held(x, one_hot(label, std::span(&classes, 1)), cut);
  // Centred outputs of a frequent class start as low as those of a rare one: the mean goes back on.
  std::vector<double> share(static_cast<std::size_t>(classes), 0.0);
  for (const std::int32_t row : cut.learnt)
    share[static_cast<std::size_t>(label[static_cast<std::size_t>(row)])] +=
        1.0 / static_cast<double>(cut.learnt.size());
  std::int64_t right = 0;
  for (std::size_t i = 0; i < cut.held.size(); ++i) {
    std::size_t best = 0;
    double top = 0.0;
    for (std::size_t c = 0; c < share.size(); ++c) {
      const double value = held.predicted.data<double>()[i * share.size() + c] + share[c];
      if (c == 0 || value > top) top = value, best = c;
    }
    right += static_cast<std::int32_t>(best) == label[static_cast<std::size_t>(cut.held[i])];
  }
  return static_cast<double>(right) / static_cast<double>(cut.held.size());
}

double probe_chance(std::span<const std::int32_t> label, int classes) {
  const Cut cut = cut_rows(static_cast<std::int64_t>(label.size()));
  if (cut.held.empty()) return 0.0;
  std::vector<std::int64_t> count(static_cast<std::size_t>(classes), 0);
  for (const std::int32_t row : cut.held) ++count[static_cast<std::size_t>(label[static_cast<std::size_t>(row)])];
  return static_cast<double>(*std::max_element(count.begin(), count.end())) / static_cast<double>(cut.held.size());
}

Tensor one_hot(std::span<const std::int32_t> codes, std::span<const int> sizes) {
  check(!sizes.empty() && codes.size() % sizes.size() == 0, "one_hot: ", codes.size(), " codes are no multiple of ",
        sizes.size(), " levels");
  const std::int64_t width = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  const auto rows = static_cast<std::int64_t>(codes.size() / sizes.size());
  Tensor out = Tensor::zeros({rows, width});
  for (std::size_t i = 0; i < codes.size(); ++i) {
    const std::size_t level = i % sizes.size();
    check(codes[i] >= -1 && codes[i] < sizes[level], "one_hot: code ", codes[i], ", expected -1 .. ", sizes[level] - 1);
    if (codes[i] < 0) continue;
    const std::int64_t begin =
        std::accumulate(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(level), std::int64_t{0});
    out.data<float>()[static_cast<std::int64_t>(i / sizes.size()) * width + begin + codes[i]] = 1.0f;
  }
  return out;
}

}  // namespace tessera
