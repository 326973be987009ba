#include "framework/nn/kmeans.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/nearest_code/nearest_code.h"

namespace tessera {
namespace {

constexpr std::int64_t kGrain = 256;

float squared_distance(const float* a, const float* b, std::int64_t n) {
  constexpr std::int64_t kLanes = 16;  // independent sums, so that the loop vectorises without reordering
  std::array<float, kLanes> lane{};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (std::int64_t j = 0; j < kLanes; ++j) {
      const float d = a[i + j] - b[i + j];
      lane[static_cast<std::size_t>(j)] += d * d;
    }
  float sum = 0.0f;
  for (; i < n; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  for (const float part : lane) sum += part;
  return sum;
}

double mean_of(const std::vector<float>& values) {
  double sum = 0.0;
  for (const float value : values) sum += value;
  return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

// k-means++: each next centre is a row drawn in proportion to its squared distance to the nearest centre so far.
Tensor seed_centres(const Tensor& x, int codes, Random& random) {
  const std::int64_t rows = x.rows(), width = x.columns();
  const float* values = x.data<float>();
  Tensor centres({codes, width});
  std::vector<float> nearest(static_cast<std::size_t>(rows), INFINITY);
  std::vector<double> tile_sum(static_cast<std::size_t>((rows + kGrain - 1) / kGrain));
  std::int64_t chosen = random.below(rows);
  for (int k = 0;; ++k) {
    const float* centre = values + chosen * width;
    std::copy_n(centre, width, centres.data<float>() + k * width);
    if (k + 1 == codes) return centres;
    parallel_rows(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
      double sum = 0.0;
      for (std::int64_t i = begin; i < end; ++i) {
        float& d = nearest[static_cast<std::size_t>(i)];
        sum += d = std::min(d, squared_distance(values + i * width, centre, width));
      }
      tile_sum[static_cast<std::size_t>(begin / kGrain)] = sum;
    });
    double left = random.uniform() * std::accumulate(tile_sum.begin(), tile_sum.end(), 0.0);
    if (!(left > 0.0)) {  // every row is a centre already
      chosen = random.below(rows);
      continue;
    }
    std::size_t tile = 0;
    while (tile + 1 < tile_sum.size() && left >= tile_sum[tile]) left -= tile_sum[tile++];
    chosen = static_cast<std::int64_t>(tile) * kGrain;
    const std::int64_t end = std::min(rows, chosen + kGrain);
    while (chosen + 1 < end && left >= nearest[static_cast<std::size_t>(chosen)])
      left -= nearest[static_cast<std::size_t>(chosen++)];
  }
}

// Nearest centres with at most `most` rows each: rows with most to lose by their second choice choose first.
std::vector<std::int32_t> balanced_codes(const Tensor& x, const Tensor& centres, std::int64_t most) {
  const Tensor distances = squared_distances(x, centres);
  const std::int64_t rows = distances.rows(), codes = distances.columns();
  const float* d = distances.data<float>();
  std::vector<float> regret(static_cast<std::size_t>(rows), 0.0f);
  parallel_rows(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float first = INFINITY, second = INFINITY;
      for (std::int64_t k = 0; k < codes; ++k) {
        const float value = d[i * codes + k];
        if (value < first) second = first, first = value;
        else second = std::min(second, value);
      }
      regret[static_cast<std::size_t>(i)] = codes > 1 ? second - first : 0.0f;
    }
  });
  std::vector<std::int32_t> order(static_cast<std::size_t>(rows)), code(static_cast<std::size_t>(rows), -1);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return regret[static_cast<std::size_t>(a)] > regret[static_cast<std::size_t>(b)];
  });
  std::vector<std::int64_t> size(static_cast<std::size_t>(codes), 0);
  for (const std::int32_t row : order) {
    std::int64_t best = -1;
    for (std::int64_t k = 0; k < codes; ++k)
      if (size[static_cast<std::size_t>(k)] < most && (best < 0 || d[row * codes + k] < d[row * codes + best]))
        best = k;
    code[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(best);
    ++size[static_cast<std::size_t>(best)];
  }
  return code;
}

// Moves each centre to the mean of its rows, and those without rows to the rows farthest from their centres.
void move_centres(const Tensor& x, const std::vector<std::int32_t>& codes, Tensor& centres) {
  const std::int64_t count = centres.rows(), width = centres.columns();
  const CodeMembers members = members_of(codes, static_cast<int>(count));
  const auto distances = code_distances(x, centres, codes);
  const float* values = x.data<float>();
  float* to = centres.data<float>();
  std::vector<std::int64_t> empty;
  for (std::int64_t k = 0; k < count; ++k)
    if (members.begin[static_cast<std::size_t>(k)] == members.begin[static_cast<std::size_t>(k) + 1])
      empty.push_back(k);
  parallel_for(count, [&](std::int64_t k) {
    const std::int64_t begin = members.begin[static_cast<std::size_t>(k)],
                       end = members.begin[static_cast<std::size_t>(k) + 1];
    if (begin == end) return;
    std::vector<double> sum(static_cast<std::size_t>(width), 0.0);
    for (std::int64_t m = begin; m < end; ++m) {
      const float* row = values + members.order[static_cast<std::size_t>(m)] * width;
      for (std::int64_t j = 0; j < width; ++j) sum[static_cast<std::size_t>(j)] += row[j];
    }
    const double share = 1.0 / static_cast<double>(end - begin);
    for (std::int64_t j = 0; j < width; ++j)
      to[k * width + j] = static_cast<float>(sum[static_cast<std::size_t>(j)] * share);
  });
  if (empty.empty()) return;
  std::vector<std::int32_t> far(codes.size());
  std::iota(far.begin(), far.end(), 0);
  std::partial_sort(far.begin(), far.begin() + static_cast<std::ptrdiff_t>(empty.size()), far.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      const float da = distances[static_cast<std::size_t>(a)],
                                  db = distances[static_cast<std::size_t>(b)];
                      return da != db ? da > db : a < b;
                    });
  for (std::size_t e = 0; e < empty.size(); ++e) std::copy_n(values + far[e] * width, width, to + empty[e] * width);
}

KMeans run_once(const Tensor& x, const KMeansOptions& options, const FitContext& context, Random& random,
                const Tensor& start) {
  KMeans result;
  result.centres = start ? start.clone() : seed_centres(x, options.codes, random);
  const auto most =
      static_cast<std::int64_t>(std::ceil(options.balance * static_cast<double>(x.rows()) / options.codes));
  std::vector<std::int32_t> last;
  for (; result.iterations < options.iterations; ++result.iterations) {
    if (context.stop()) throw Stopped("kmeans: stopped");
    auto codes = options.balance > 0.0 ? balanced_codes(x, result.centres, most) : nearest_code(x, result.centres);
    if (codes == last) break;
    move_centres(x, codes, result.centres);
    last = std::move(codes);
  }
  result.codes = nearest_code(x, result.centres);
  result.error = mean_of(code_distances(x, result.centres, result.codes));
  return result;
}

}  // namespace

std::vector<float> code_distances(const Tensor& x, const Tensor& centres, const std::vector<std::int32_t>& codes) {
  check(static_cast<std::int64_t>(codes.size()) == x.rows() && x.columns() == centres.columns(), "code_distances: x ",
        x.shape().text(), ", centres ", centres.shape().text(), " and ", codes.size(), " codes do not fit");
  std::vector<float> out(codes.size(), 0.0f);
  const std::int64_t width = x.columns();
  parallel_rows(x.rows(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int32_t code = codes[static_cast<std::size_t>(i)];
      if (code < 0) continue;
      const float *row = x.data<float>() + i * width, *centre = centres.data<float>() + code * width;
      out[static_cast<std::size_t>(i)] = squared_distance(row, centre, width);
    }
  });
  return out;
}

CodeMembers members_of(const std::vector<std::int32_t>& codes, int count) {
  CodeMembers members;
  members.begin.assign(static_cast<std::size_t>(count) + 1, 0);
  for (const std::int32_t code : codes)
    if (code >= 0) ++members.begin[static_cast<std::size_t>(code) + 1];
  std::partial_sum(members.begin.begin(), members.begin.end(), members.begin.begin());
  std::vector<std::int64_t> place(members.begin.begin(), members.begin.end() - 1);
  members.order.resize(static_cast<std::size_t>(members.begin.back()));
  for (std::size_t i = 0; i < codes.size(); ++i)
    if (codes[i] >= 0)
      members.order[static_cast<std::size_t>(place[static_cast<std::size_t>(codes[i])]++)] =
          static_cast<std::int32_t>(i);
  return members;
}

KMeans kmeans(const Tensor& x, const KMeansOptions& options, const FitContext& context, const std::string& name,
              const Tensor& start) {
  check(x.shape().rank() == 2 && x.dtype() == DType::f32, "kmeans: x ", x.shape().text(), ", expected (N, D) in f32");
  check(options.codes >= 1 && x.rows() >= options.codes, "kmeans: ", x.rows(), " rows for ", options.codes,
        " codes, expected at least one row a code; use fewer codes");
  check(options.balance == 0.0 || options.balance >= 1.0, "kmeans: balance is ", options.balance,
        ", expected 0 or 1 or more");
  check(!start || start.shape() == Shape({options.codes, x.columns()}), "kmeans: start ", start.shape().text(),
        ", expected (", options.codes, ", ", x.columns(), ")");
  Random random(context.seed, stream_of("kmeans/" + name));
  Tensor learn = x.detach();
  if (options.sample > 0 && options.sample < x.rows()) {
    std::vector<std::int32_t> rows(static_cast<std::size_t>(x.rows()));
    std::iota(rows.begin(), rows.end(), 0);
    random.shuffle(std::span(rows));
    rows.resize(static_cast<std::size_t>(std::max<std::int64_t>(options.sample, options.codes)));
    std::sort(rows.begin(), rows.end());
    learn = gather_rows(learn, rows);
  }
  KMeans best;
  for (int run = 0; run < std::max(1, options.restarts); ++run) {
    KMeans next = run_once(learn, options, context, random, start);
    if (run == 0 || next.error < best.error) best = std::move(next);
    if (start) break;  // the same start would give the same run
  }
  if (learn.rows() != x.rows()) {
    best.codes = nearest_code(x, best.centres);
    best.error = mean_of(code_distances(x, best.centres, best.codes));
  }
  return best;
}

}  // namespace tessera
