#include <algorithm>
#include <fstream>
#include <memory>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "framework/data/batches.h"
#include "framework/plugin/loader.h"
#include "framework/roles/frozen_weights.h"
#include "framework/roles/head.h"
#include "framework/train/optimizer.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/allocator.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

void set_items(Dataset& data, std::int64_t items) {
  data.items.ids.resize(static_cast<std::size_t>(items));
  data.interactions.part.assign(data.interactions.item.size(), Part::train);
}

// Lines of `user item item ...`, numbers from 0.
Dataset read(const std::string& path, std::int64_t least_items) {
  std::ifstream file(path);
  check(file.is_open(), "lightgcn: cannot open ", path, "; give --data FILE (lines of: user item item ...)");
  Dataset data;
  std::int64_t items = least_items;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::int64_t user = 0;
    words >> user;
    for (std::int32_t item = 0; words >> item;) {
      data.interactions.item.push_back(item);
      items = std::max<std::int64_t>(items, item + 1);
    }
    data.interactions.offset.push_back(data.interactions.size());
  }
  set_items(data, items);
  return data;
}

// 27 edges a user and 20 an item, as Gowalla has, items by a power law.
Dataset synthetic(std::int64_t edges, std::uint64_t seed) {
  Dataset data;
  const std::int64_t users = std::max<std::int64_t>(1, edges / 27), items = std::max<std::int64_t>(30, edges / 20);
  Random random(seed, stream_of("graph"));
  data.interactions.item.reserve(static_cast<std::size_t>(users * 27));
  for (std::int64_t user = 0; user < users; ++user) {
    for (int i = 0; i < 27; ++i) {
      const double u = random.uniform();
      data.interactions.item.push_back(static_cast<std::int32_t>(static_cast<double>(items) * u * u));
    }
    data.interactions.offset.push_back(data.interactions.size());
  }
  set_items(data, items);
  return data;
}

// The plugins lightgcn and dot_product as the trainer runs them: batches with one unseen negative a target, BPR, half
// of the squared rows of layer 0, AdamW over both tables.
class LightGcn {
 public:
  LightGcn(Arguments& a, Dataset data)
      : data_(std::move(data)), seed_(static_cast<std::uint64_t>(a.number("seed", 0))), loader_(registry_) {
    ItemTokens tokens;
    tokens.levels.push_back({"item", static_cast<int>(data_.item_count()), ""});
    tokens.codes.resize(static_cast<std::size_t>(data_.item_count()));
    std::iota(tokens.codes.begin(), tokens.codes.end(), 0);
    catalog_ = std::make_unique<Catalog>(std::move(tokens), CollisionPolicy::none,
                                         std::vector<std::int64_t>(static_cast<std::size_t>(data_.item_count()), 1));
    model_ = registry_.create<tessera::Model>(
        Section::parse("model", str("plugin = \"lightgcn\"\nl2 = 1e-4\nwidth = ", a.number("dim", 64),
                                    "\nlayers = ", a.number("layers", 3), "\n")));
    head_ =
        registry_.create<Head>(Section::parse("head", "plugin = \"dot_product\"\nloss = \"bpr\"\ndeviation = 0.1\n"));
    const BuildContext context{data_, *catalog_, seed_};
    head_->build(context, model_->spec());
    model_->build(context, head_->item_tower());
    model_->initialize(seed_, "model/");
    head_->initialize(seed_, "head/");
    BatchOptions options;
    options.form = BatchForm::one_target;
    options.batch_size = a.number("batch", 2048);
    options.subsequences = options.empty_histories = true;
    options.with_histories = false;
    options.negatives = 1;
    batches_ = std::make_unique<Batches>(data_, options, seed_);
    Optimizer::Named named = model_->parameters();
    for (const auto& [name, parameter] : head_->parameters()) named.emplace_back("head/" + name, parameter);
    optimizer_ = std::make_unique<Optimizer>(std::move(named), TrainOptions());
  }

  const Dataset& data() const { return data_; }
  std::int64_t steps_per_epoch() const { return batches_->per_epoch(); }

  double step() {
    const TrainBatch batch = batches_->batch(taken_ / steps_per_epoch(), taken_ % steps_per_epoch());
    const TrainingScope training(seed_, static_cast<std::uint64_t>(++taken_));
    Tape tape;
    const Tensor loss = add(head_->loss(*model_, batch), model_->auxiliary_loss(batch));
    const double value = loss.item();
    tape.backward(loss);
    optimizer_->step(1e-3, 1);
    return value;
  }

  // The 20 best items of every user, those of his training part excluded.
  void rank(std::int64_t chunk) {
    const FrozenWeights frozen;
    const Interactions& all = data_.interactions;
    for (std::int64_t begin = 0; begin < all.users(); begin += chunk) {
      const std::int64_t end = std::min(begin + chunk, all.users());
      Histories asked;
      RankRequest request;
      request.k = 20;
      request.excluded_offset = {0};
      for (std::int64_t user = begin; user < end; ++user) {
        asked.user.push_back(static_cast<std::int32_t>(user));
        asked.offset.push_back(0);
        request.excluded_offset.push_back(all.end(user) - all.begin(begin));
      }
      request.excluded.assign(all.item.begin() + all.begin(begin), all.item.begin() + all.end(end - 1));
      head_->rank(*model_, asked, request);
    }
  }

 private:
  Dataset data_;
  std::uint64_t seed_;
  Registry registry_;
  Loader loader_;
  std::unique_ptr<Catalog> catalog_;
  std::shared_ptr<tessera::Model> model_;
  std::shared_ptr<Head> head_;
  std::unique_ptr<Batches> batches_;
  std::unique_ptr<Optimizer> optimizer_;
  std::int64_t taken_ = 0;
};

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 5), warmup = a.number("warmup", 2), edges = a.number("edges", 0);
  const std::int64_t rankings = a.number("rankings", 2), chunk = a.number("chunk", 2048);
  const std::string path = a.text("data", "../shared/data/gowalla/train.txt");
  LightGcn work(a, edges > 0 ? synthetic(edges, 1) : read(path, edges == 0 ? a.number("items", 40981) : 0));
  a.finish();
  double loss = 0.0;
  for (std::int64_t i = 0; i < warmup; ++i) loss = work.step();
  const auto before = allocator_stats().system_allocations;
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { loss = work.step(); }, repeat, 0);
  Report report("lightgcn");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("users", static_cast<double>(work.data().users()));
  report.number("items", static_cast<double>(work.data().item_count()));
  report.number("interactions", static_cast<double>(work.data().interactions.size()));
  report.number("steps_per_epoch", static_cast<double>(work.steps_per_epoch()));
  report.seconds("seconds_per_step", seconds);
  report.number("cpu_seconds_per_step", (cpu_seconds() - cpu) / static_cast<double>(repeat));
  report.number("last_loss", loss);
  report.number("system_allocations_in_timed_steps",
                static_cast<double>(allocator_stats().system_allocations - before));
  report.memory();
  if (rankings > 0) {
    const double ranking_cpu = cpu_seconds();
    report.seconds("seconds_full_ranking", timed([&] { work.rank(chunk); }, rankings, 0));
    report.number("cpu_seconds_full_ranking", (cpu_seconds() - ranking_cpu) / static_cast<double>(rankings));
  }
  report.print();
}

const Workload workload("lightgcn", "LightGCN: a step of BPR, and the full ranking; --data FILE or --edges N", run);

}  // namespace
}  // namespace tessera::bench
