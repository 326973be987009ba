#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/data/npy.h"
#include "framework/nn/graph_sage.h"
#include "framework/train/optimizer.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/allocator.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/join/join.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/reduce/reduce.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

// Lines of `user <tab> item`, users rising, numbers from 0.
Dataset read(const std::string& path, std::int64_t items) {
  std::ifstream file(path);
  check(file.is_open(), "graphsage: cannot open ", path, "; give --data FOLDER with train.tsv");
  Dataset data;
  data.items.ids.resize(static_cast<std::size_t>(items));
  for (std::int64_t user = 0, item = 0; file >> user >> item;) {
    check(user + 1 >= data.interactions.users() && item < items, "graphsage: ", path, ": user ", user, ", item ", item);
    while (data.interactions.users() <= user) data.interactions.offset.push_back(data.interactions.size());
    data.interactions.item.push_back(static_cast<std::int32_t>(item));
    data.interactions.offset.back() = data.interactions.size();
  }
  data.user_ids.resize(static_cast<std::size_t>(data.interactions.users()));
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
  return data;
}

// --form modalities: a network for each modality, features entering as they are, relu, no dropout, outputs joined; one
// uniform negative a positive. --form tokenizer: what the plugin graph_rq_vae trains: one network on the joined
// features through a linear map, leaky relu, dropout, five negatives.
class GraphStep {
 public:
  explicit GraphStep(Arguments& a) : seed_(static_cast<std::uint64_t>(a.number("seed", 0))) {
    const std::string folder = a.text("data", "../shared/data/tiktok"), form = a.text("form", "modalities");
    check(form == "modalities" || form == "tokenizer", "graphsage: --form ", form,
          ", expected modalities or tokenizer");
    const bool joined = form == "tokenizer";
    std::vector<Tensor> features;
    for (const std::string& name : a.texts("modalities", "visual,acoustic"))
      features.push_back(read_npy(str(folder, "/", name, "128_f16.npy")));
    check(!features.empty(), "graphsage: --modalities names none");
    if (joined) features = {concat_columns(features)};
    data_ = read(folder + "/train.tsv", features.front().rows());
    GraphSageOptions options;
    options.hidden = static_cast<int>(a.number("hidden", 128));
    options.output = static_cast<int>(a.number("out", 64));
    options.fuse = joined;
    if (!joined) {
      options.activation = Activation::relu;
      options.hidden_dropout = options.output_dropout = 0.0;
    }
    batch_ = a.number("batch", joined ? 600 : 3000);
    negatives_ = joined ? 5 : 1;
    Optimizer::Named named;
    for (const Tensor& x : features) {
      if (!joined) options.width = static_cast<int>(x.columns());
      networks_.push_back(std::make_unique<GraphSage>(options, data_, x));
      const std::string name = str("network", networks_.size(), "/");
      networks_.back()->initialize(seed_, name);
      for (const auto& [key, parameter] : networks_.back()->parameters()) named.emplace_back(name + key, parameter);
    }
    optimizer_ = std::make_unique<Optimizer>(std::move(named), TrainOptions());
    for (std::int64_t user = 0; user < data_.interactions.users(); ++user)
      user_of_.insert(user_of_.end(),
                      static_cast<std::size_t>(data_.interactions.end(user) - data_.interactions.begin(user)),
                      static_cast<std::int32_t>(user));
  }

  const Dataset& data() const { return data_; }
  std::int64_t steps_per_epoch() const { return (data_.interactions.size() + batch_ - 1) / batch_; }

  double step() {
    Random random(seed_ + static_cast<std::uint64_t>(++taken_), stream_of("batch"));
    std::vector<std::int32_t> users, items, repeat;
    for (std::int32_t b = 0; b < batch_; ++b) {
      const auto edge = static_cast<std::size_t>(random.below(data_.interactions.size()));
      users.push_back(user_of_[edge]);
      items.push_back(data_.interactions.item[edge]);
      repeat.insert(repeat.end(), static_cast<std::size_t>(negatives_), b);
    }
    for (std::int64_t n = 0; n < batch_ * negatives_; ++n)
      items.push_back(static_cast<std::int32_t>(random.below(data_.item_count())));
    const TrainingScope training(seed_, static_cast<std::uint64_t>(taken_));
    Tape tape;
    std::vector<Tensor> user_parts, item_parts;
    for (const auto& network : networks_) {
      const auto [u, i] = network->vectors_of(users, items);
      user_parts.push_back(u);
      item_parts.push_back(i);
    }
    const Tensor u = concat_columns(user_parts), i = concat_columns(item_parts);
    const Tensor positive = row_dot(u, slice_rows(i, 0, batch_)).reshape({batch_, 1});
    const Tensor negative = row_dot(gather_rows(u, repeat), slice_rows(i, batch_, i.rows()));
    const Tensor loss = bpr(gather_rows(positive, repeat).reshape({negative.numel()}), negative);
    const double value = loss.item();
    tape.backward(loss);
    optimizer_->step(1e-3, 1);
    return value;
  }

 private:
  std::uint64_t seed_;
  Dataset data_;
  std::vector<std::unique_ptr<GraphSage>> networks_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<std::int32_t> user_of_;  // of each interaction
  std::int64_t batch_ = 0, negatives_ = 1, taken_ = 0;
};

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 15), warmup = a.number("warmup", 3);
  GraphStep work(a);
  a.finish();
  double loss = 0.0;
  for (std::int64_t i = 0; i < warmup; ++i) loss = work.step();
  const auto before = allocator_stats().system_allocations;
  const auto operations = gemm_operations();
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { loss = work.step(); }, repeat, 0);
  Report report("graphsage");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("users", static_cast<double>(work.data().users()));
  report.number("items", static_cast<double>(work.data().item_count()));
  report.number("edges", static_cast<double>(work.data().interactions.size()));
  report.seconds("seconds_per_step", seconds);
  report.number("cpu_seconds_per_step", (cpu_seconds() - cpu) / static_cast<double>(repeat));
  report.number("gemm_gflop_per_step",
                1e-9 * static_cast<double>(gemm_operations() - operations) / static_cast<double>(repeat));
  report.number("steps_per_epoch", static_cast<double>(work.steps_per_epoch()));
  report.number("last_loss", loss);
  report.number("system_allocations_in_timed_steps",
                static_cast<double>(allocator_stats().system_allocations - before));
  report.print();
}

const Workload workload("graphsage", "GraphSAGE over users and items: a step of BPR; --form modalities or tokenizer",
                        run);

}  // namespace
}  // namespace tessera::bench
