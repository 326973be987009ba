#include "plugins/dst/figures.h"

#include <algorithm>
#include <numeric>

#include "framework/nn/club.h"
#include "framework/nn/ridge.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/random.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"

namespace tessera {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::int64_t kHidden = 64;
constexpr int kSteps = 300;
constexpr double kRate = 2e-3;
constexpr std::int64_t kPool = 20000;      // items that are looked at, at most
constexpr std::int64_t kEstimated = 5000;  // of them, those from which mutual information is estimated
constexpr std::int64_t kFewest = 10;       // rows of which a fifth can be held out

// Vectors of all items that have a modality, and where item i of the list stands among them.
struct Vectors {
  std::vector<Tensor> shared, own, coded, x;     // (n_m, d), (n_m, d), (n_m, d), (n_m, D_m)
  std::vector<std::vector<std::int32_t>> place;  // (items) or -1
};

Vectors vectors_of(DstNetwork& network, const DstInput& input, const std::vector<std::int32_t>& items) {
  const std::size_t count = network.modalities();
  std::vector<std::vector<Tensor>> shared(count), own(count), coded(count), x(count);
  Vectors out;
  out.place.resize(count);
  for (std::size_t begin = 0; begin < items.size(); begin += kBlock) {
    const DstBatch batch = pick(input, std::span(items).subspan(begin, std::min(kBlock, items.size() - begin)));
    const auto parts = network.forward(batch, true);
    for (std::size_t m = 0; m < count; ++m) {
      std::int64_t before = 0;
      for (const Tensor& part : x[m]) before += part.rows();
      for (const std::int32_t place : batch.place[m])
        out.place[m].push_back(place < 0 ? -1 : static_cast<std::int32_t>(before) + place);
      if (batch.row[m].empty()) continue;
      shared[m].push_back(parts.shared_of[m]);
      own[m].push_back(parts.own[m]);
      coded[m].push_back(parts.coded[m]);
      x[m].push_back(batch.x[m]);
    }
  }
  for (std::size_t m = 0; m < count; ++m) {
    const auto join = [](const std::vector<Tensor>& parts) { return parts.empty() ? Tensor() : concat_rows(parts); };
    out.shared.push_back(join(shared[m])), out.own.push_back(join(own[m]));
    out.coded.push_back(join(coded[m])), out.x.push_back(join(x[m]));
  }
  return out;
}

double explained(const Tensor& x, const Tensor& y) {
  const std::int64_t rows = x.rows(), width = x.columns();
  std::vector<double> mean(static_cast<std::size_t>(width), 0.0);
  for (std::int64_t i = 0; i < x.numel(); ++i)
    mean[static_cast<std::size_t>(i % width)] += x.data<float>()[i] / static_cast<double>(rows);
  double error = 0.0, variance = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double value = x.data<float>()[i], centre = mean[static_cast<std::size_t>(i % width)];
    error += (value - y.data<float>()[i]) * (value - y.data<float>()[i]);
    variance += (value - centre) * (value - centre);
  }
  return variance > 0.0 ? 1.0 - error / variance : 0.0;
}

// At most so many numbers below `count`, drawn without replacement, in a random order.
std::vector<std::int32_t> drawn(std::int64_t count, std::int64_t most, const char* name) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  Random(1, stream_of(name)).shuffle(std::span(order));
  order.resize(static_cast<std::size_t>(std::min(count, most)));
  return order;
}

double mutual_information(const Tensor& shared, const Tensor& own) {
  const auto rows = drawn(shared.rows(), kEstimated, "dst/health/rows");
  const Tensor x = standardize_columns(gather_rows(shared, rows)), y = standardize_columns(gather_rows(own, rows));
  const std::int64_t cut = x.rows() - x.rows() / 5;
  Club club(x.columns(), y.columns(), kHidden);
  club.initialize(1, "dst/health/");
  club.learn(x.row_range(0, cut), y.row_range(0, cut), kSteps, kRate);
  return std::max(0.0, club.bound(x.row_range(cut, x.rows()), y.row_range(cut, y.rows())).item());
}

}  // namespace

std::vector<HealthFigure> disentanglement(DstNetwork& network, const std::vector<std::string>& names,
                                          const DstInput& input, const std::vector<std::int32_t>& items) {
  const NoTape quiet;
  std::vector<std::int32_t> pool;
  for (const std::int32_t at : drawn(static_cast<std::int64_t>(items.size()), kPool, "dst/health/items"))
    pool.push_back(items[static_cast<std::size_t>(at)]);
  std::sort(pool.begin(), pool.end());
  const Vectors all = vectors_of(network, input, pool);
  std::vector<HealthFigure> figures;
  for (std::size_t m = 0; m < names.size(); ++m) {
    if (!all.x[m] || all.x[m].rows() < kFewest) continue;
    const auto add = [&](const std::string& what, double value) { figures.push_back({names[m] + ": " + what, value}); };
    DstBranch& branch = network.branch(m);
    const Tensor nothing = Tensor::zeros(all.coded[m].shape());
    add("R2 from shared codes alone", explained(all.x[m], branch.decode(all.shared[m], nothing)));
    add("R2 from shared and own codes", explained(all.x[m], branch.decode(all.shared[m], all.coded[m])));
    add("probe R2 of the private part from the shared part", probe_r2(all.shared[m], all.own[m]));
    add("probe R2 of the shared part from the private part", probe_r2(all.own[m], all.shared[m]));
    add("mutual information of the two, nats", mutual_information(all.shared[m], all.own[m]));
  }
  for (std::size_t m = 0; m < names.size(); ++m)
    for (std::size_t n = 0; n < names.size(); ++n) {
      const auto [first, second] = common_rows(all.place[m], all.place[n]);
      if (m == n || static_cast<std::int64_t>(first.size()) < kFewest) continue;
      figures.push_back({names[n] + ": probe R2 of the private part from that of " + names[m],
                         probe_r2(gather_rows(all.own[m], first), gather_rows(all.own[n], second))});
    }
  return figures;
}

}  // namespace tessera
