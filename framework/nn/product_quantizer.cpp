#include "framework/nn/product_quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "framework/nn/linalg.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/matmul/matmul.h"
#include "tensor/ops/product_code/product_code.h"

namespace tessera {
namespace {

constexpr std::int64_t kGrain = 256;
constexpr double kStay = 1e-4;  // share of the matrix's size by which a rotation is pulled to the one before it
constexpr double kFlat = 1e-12;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

Tensor column_means(const Tensor& x) {
  const std::int64_t width = x.columns();
  std::vector<double> sum(at(width), 0.0);
  const float* row = x.data<float>();
  for (std::int64_t i = 0, rows = x.rows(); i < rows; ++i, row += width)
    for (std::int64_t j = 0; j < width; ++j) sum[at(j)] += row[j];
  Tensor mean({width});
  for (std::int64_t j = 0; j < width; ++j)
    mean.data<float>()[j] = static_cast<float>(sum[at(j)] / static_cast<double>(x.rows()));
  return mean;
}

// x + factor * mean, row by row.
Tensor shifted(const Tensor& x, const Tensor& mean, float factor) {
  Tensor y(x.shape());
  const std::int64_t width = x.columns();
  parallel_rows(x.rows(), kGrain,
                [&, from = x.data<float>(), to = y.data<float>(), own = mean.data<float>()](std::int64_t begin,
                                                                                            std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i)
                    for (std::int64_t j = 0; j < width; ++j) to[i * width + j] = from[i * width + j] + factor * own[j];
                });
  return y;
}

// Squared distance of each part of each row to its centre: (N, M).
std::vector<float> part_errors(const Tensor& x, std::span<const std::int32_t> codes, const Tensor& centres) {
  const std::int64_t parts = centres.dim(0), count = centres.dim(1), width = centres.dim(2);
  std::vector<float> out(at(x.rows() * parts));
  const float *values = x.data<float>(), *books = centres.data<float>();
  parallel_rows(x.rows(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * parts; i < end * parts; ++i) {
      const float *row = values + i * width, *centre = books + (i % parts * count + codes[at(i)]) * width;
      float sum = 0.0f;
      for (std::int64_t j = 0; j < width; ++j) sum += (row[j] - centre[j]) * (row[j] - centre[j]);
      out[at(i)] = sum;
    }
  });
  return out;
}

std::vector<double> part_distortions(const Tensor& x, std::span<const std::int32_t> codes, const Tensor& centres) {
  const std::int64_t parts = centres.dim(0);
  const auto errors = part_errors(x, codes, centres);
  std::vector<double> out(at(parts), 0.0);
  for (std::size_t i = 0; i < errors.size(); ++i) out[i % at(parts)] += errors[i];
  for (double& value : out) value /= static_cast<double>(std::max<std::int64_t>(1, x.rows()));
  return out;
}

double total(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// Centres without rows move to the rows of their part that are farthest from their own centres.
void revive(const Tensor& x, std::span<const std::int32_t> codes, std::span<const std::int64_t> hits, Tensor& centres) {
  const std::int64_t parts = centres.dim(0), count = centres.dim(1), width = centres.dim(2);
  if (std::find(hits.begin(), hits.end(), 0) == hits.end()) return;
  const auto errors = part_errors(x, codes, centres);
  for (std::int64_t m = 0; m < parts; ++m) {
    std::vector<std::int64_t> empty;
    for (std::int64_t k = 0; k < count; ++k)
      if (hits[at(m * count + k)] == 0) empty.push_back(k);
    if (empty.empty()) continue;
    std::vector<std::int32_t> far(at(x.rows()));
    std::iota(far.begin(), far.end(), 0);
    const auto farther = [&](std::int32_t a, std::int32_t b) {
      const float da = errors[at(a * parts + m)], db = errors[at(b * parts + m)];
      return da != db ? da > db : a < b;
    };
    std::partial_sort(far.begin(), far.begin() + static_cast<std::ptrdiff_t>(empty.size()), far.end(), farther);
    for (std::size_t e = 0; e < empty.size(); ++e)
      std::copy_n(x.data<float>() + (far[e] * parts + m) * width, width,
                  centres.data<float>() + (m * count + empty[e]) * width);
  }
}

// Different rows, the same for all parts.
Tensor first_centres(const Tensor& x, int parts, int codes, Random& random) {
  std::vector<std::int32_t> rows(at(x.rows()));
  std::iota(rows.begin(), rows.end(), 0);
  random.shuffle(std::span(rows));
  const std::int64_t width = x.columns() / parts;
  Tensor centres({parts, codes, width});
  for (std::int64_t m = 0; m < parts; ++m)
    for (std::int64_t k = 0; k < codes; ++k)
      std::copy_n(x.data<float>() + rows[at(k)] * x.columns() + m * width, width,
                  centres.data<float>() + (m * codes + k) * width);
  return centres;
}

// Principal directions as columns, in the order of the allocation.
Tensor parametric_rotation(const Tensor& x, int parts) {
  const EigenSystem system = symmetric_eigen(moments(x).covariance);
  const std::int64_t width = x.columns();
  const auto order = balanced_allocation(system.values.values<double>(), parts);
  Tensor rotation({width, width});
  for (std::int64_t i = 0; i < width; ++i)
    for (std::int64_t j = 0; j < width; ++j)
      rotation.data<float>()[i * width + j] =
          static_cast<float>(system.vectors.data<double>()[i * width + order[at(j)]]);
  return rotation;
}

// The rotation whose parts are best fitted by the codes' centres y: turns z = x R a little further. Pulled to where it
// is, so that directions that the codes do not tell apart stay; the error cannot rise by that.
Tensor next_rotation(const Tensor& rotation, const Tensor& z, const Tensor& y) {
  Tensor c = matmul(z, y, true, false);
  double square = 0.0;
  for (const float value : c.values<float>()) square += static_cast<double>(value) * value;
  if (!(square > 0.0)) return rotation;
  const std::int64_t width = c.rows();
  for (std::int64_t i = 0; i < width; ++i)
    c.data<float>()[i * width + i] += static_cast<float>(kStay * std::sqrt(square));
  return matmul(rotation, polar_factor(c));
}

struct Learning {
  const ProductQuantizerOptions& options;
  const FitContext& context;
  const std::string& name;

  Random random() const { return Random(context.seed, stream_of("product_quantizer/" + name)); }

  Tensor plain(const Tensor& x) const {
    Random order = random();
    Tensor centres = first_centres(x, options.subspaces, options.codes, order);
    product_kmeans(x, centres, options.first_rounds + options.final_rounds, context);
    return centres;
  }

  // x: without its mean.
  void turned(const Tensor& x, Tensor& rotation, Tensor& centres) const {
    rotation = parametric_rotation(x, options.subspaces);
    Tensor z = matmul(x, rotation);
    Random order = random();
    centres = first_centres(z, options.subspaces, options.codes, order);
    auto codes = product_kmeans(z, centres, options.first_rounds, context);
    const int turns = options.rotation == "opq" ? options.turns : 0;
    for (int turn = 0; turn < turns; ++turn) {
      rotation = next_rotation(rotation, z, decode_product_codes(codes, centres));
      // The product of many turns is put right again, now and then and at the end.
      if (turn + 1 == turns || turn % 16 == 15) rotation = polar_factor(rotation.to(DType::f64)).to(DType::f32);
      z = matmul(x, rotation);
      codes = product_kmeans(z, centres, options.turn_rounds, context);
      context.progress(static_cast<double>(turn + 1) / turns, str(name, ": turn ", turn + 1, " of ", turns));
    }
    product_kmeans(z, centres, options.final_rounds, context);
  }
};

}  // namespace

std::string possible_subspaces(std::int64_t width) {
  std::string text;
  for (std::int64_t m = 1; m <= std::min<std::int64_t>(64, width); ++m)
    if (width % m == 0) text += str(text.empty() ? "" : ", ", m);
  return text;
}

std::vector<std::int32_t> balanced_allocation(std::span<const double> variances, int subspaces) {
  const auto parts = static_cast<std::size_t>(subspaces), each = variances.size() / parts;
  check(each * parts == variances.size(), "balanced_allocation: ", variances.size(), " directions for ", subspaces,
        " parts, expected a multiple");
  std::vector<double> product(parts, 0.0);  // its logarithm
  std::vector<std::size_t> filled(parts, 0);
  std::vector<std::int32_t> order(variances.size());
  const double least = kFlat * (variances.empty() ? 0.0 : variances[0]);
  for (std::size_t i = 0; i < variances.size(); ++i) {
    std::size_t to = parts;
    for (std::size_t m = 0; m < parts; ++m)
      if (filled[m] < each && (to == parts || product[m] < product[to])) to = m;
    order[to * each + filled[to]++] = static_cast<std::int32_t>(i);
    product[to] += std::log(std::max({variances[i], least, 1e-300}) / std::max(least, 1e-300));
  }
  return order;
}

std::vector<std::int32_t> product_kmeans(const Tensor& x, Tensor& centres, int rounds, const FitContext& context) {
  std::vector<std::int32_t> last;
  std::vector<std::int64_t> hits;
  for (int round = 0; round < rounds; ++round) {
    if (context.stop()) throw Stopped("product_kmeans: stopped");
    auto codes = nearest_product_codes(x, centres);
    if (codes == last) break;
    centres = product_code_means(x, codes, centres, hits);
    revive(x, codes, hits, centres);
    last = std::move(codes);
  }
  return last.empty() ? nearest_product_codes(x, centres) : last;
}

void ProductQuantizer::fit(const Tensor& x, const ProductQuantizerOptions& options, const FitContext& context,
                           const std::string& name) {
  check(x.shape().rank() == 2 && x.dtype() == DType::f32, name, ": x ", x.shape().text(), ", expected (N, D) in f32");
  check(options.subspaces >= 1 && x.columns() % options.subspaces == 0, name, ": subspaces = ", options.subspaces,
        " does not divide the width ", x.columns(), "; values that do: ", possible_subspaces(x.columns()));
  check(x.rows() >= options.codes, name, ": ", x.rows(), " rows for ", options.codes,
        " codes, expected at least one row a code; use fewer codes");
  Tensor learn = x.detach();
  if (options.sample > 0 && options.sample < x.rows()) {
    std::vector<std::int32_t> rows(at(x.rows()));
    std::iota(rows.begin(), rows.end(), 0);
    Random(context.seed, stream_of("product_quantizer/sample/" + name)).shuffle(std::span(rows));
    rows.resize(at(std::max<std::int64_t>(options.sample, options.codes)));
    std::sort(rows.begin(), rows.end());
    learn = gather_rows(learn, rows);
  }
  mean_ = column_means(learn);
  learn = shifted(learn, mean_, -1.0f);
  const Learning learning{options, context, name};
  const auto error_of = [&](const Tensor& z, const Tensor& centres) {
    return total(part_distortions(z, nearest_product_codes(z, centres), centres));
  };
  rotation_ = {};
  plain_error_ = std::numeric_limits<double>::infinity();
  if (options.rotation == "none" || options.compare) {
    centres_ = learning.plain(learn);
    error_ = plain_error_ = error_of(learn, centres_);
  }
  if (options.rotation == "none") return;
  Tensor rotation, centres;
  learning.turned(learn, rotation, centres);
  const double error = error_of(matmul(learn, rotation), centres);
  if (!(error < plain_error_)) return;
  error_ = error;
  rotation_ = rotation;
  centres_ = centres;
}

Tensor ProductQuantizer::rotated(const Tensor& x) const {
  check(static_cast<bool>(centres_), "product_quantizer: not fitted yet");
  check(x.shape().rank() == 2 && x.columns() == width(), "product_quantizer: x ", x.shape().text(), ", expected width ",
        width());
  const Tensor y = shifted(x, mean_, -1.0f);
  return rotation_ ? matmul(y, rotation_) : y;
}

std::vector<std::int32_t> ProductQuantizer::encode(const Tensor& x) const {
  return nearest_product_codes(rotated(x), centres_);
}

Tensor ProductQuantizer::decode(std::span<const std::int32_t> codes, int parts) const {
  std::vector<std::int32_t> kept(codes.begin(), codes.end());
  for (std::size_t i = 0; i < kept.size(); ++i)
    if (static_cast<int>(i % at(subspaces())) >= parts) kept[i] = -1;
  const Tensor z = decode_product_codes(kept, centres_);
  const Tensor y = rotation_ ? matmul(z, rotation_, false, true) : z;
  return shifted(y, mean_, 1.0f);
}

Tensor ProductQuantizer::contributions() const {
  const std::int64_t parts = subspaces(), count = codes();
  std::vector<std::int32_t> each(at(parts * count * parts), -1);
  for (std::int64_t row = 0; row < parts * count; ++row)
    each[at(row * parts + row / count)] = static_cast<std::int32_t>(row % count);
  const Tensor z = decode_product_codes(each, centres_);
  return rotation_ ? matmul(z, rotation_, false, true) : z;
}

std::vector<double> ProductQuantizer::distortion(const Tensor& x, std::span<const std::int32_t> codes) const {
  return part_distortions(rotated(x), codes, centres_);
}

void ProductQuantizer::visit(StateVisitor& state, const std::string& prefix) {
  std::string facts = str(rotation_ ? "rotation" : "none", " ", error_, " ", plain_error_);
  state.text(prefix + "quantizer", facts);
  if (state.loading()) {
    std::istringstream in(facts);
    std::string kind;
    in >> kind >> error_ >> plain_error_;
    check(!in.fail() && (kind == "rotation" || kind == "none"), "product_quantizer: '", prefix,
          "quantizer' is damaged");
    facts = kind;
    if (kind == "none") rotation_ = {};
  }
  state.tensor(prefix + "mean", mean_);
  state.tensor(prefix + "centres", centres_);
  if (facts.rfind("rotation", 0) == 0) state.tensor(prefix + "rotation", rotation_);
  check(centres_.shape().rank() == 3 && mean_.numel() == width(), "product_quantizer: '", prefix, "centres' is ",
        centres_.shape().text(), " with a mean of ", mean_.numel(), " numbers, expected (M, K, D / M) and D");
}

}  // namespace tessera
