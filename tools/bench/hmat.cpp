#include <memory>
#include <string>
#include <vector>

#include "framework/nn/linear.h"
#include "framework/plugin/loader.h"
#include "framework/roles/model.h"
#include "framework/train/optimizer.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/allocator.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/losses/losses.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

// The plugin hmat over random histories of n items, T codes of 256 each, with one logit an item.
class Hmat {
 public:
  explicit Hmat(Arguments& a)
      : items_(a.number("items", 300)),
        tokens_(static_cast<int>(a.number("tokens", 4))),
        batch_(a.number("batch", 8)),
        width_(a.number("dim", 128)),
        seed_(static_cast<std::uint64_t>(a.number("seed", 0))),
        loader_(registry_),
        head_(width_, 1) {
    const std::string options =
        str("plugin = \"hmat\"\nnorm = \"layer\"\ndropout = 0.0\nmax_items = 0\nwidth = ", width_,
            "\nlayers = ", a.number("layers", 4), "\nheads = ", a.number("heads", 4), "\nffn = ", a.number("ffn", 512),
            "\nmask = \"", a.text("mask", "base"), "\"\npositions = \"", a.text("positions", "hierarchical"), "\"\n");
    model_ = registry_.create<tessera::Model>(Section::parse("model", options));
    constexpr std::int64_t kItems = 12000;
    constexpr int kCodes = 256;
    Random random(seed_, stream_of("tokens"));
    ItemTokens tokens;
    for (int l = 0; l < tokens_; ++l) tokens.levels.push_back({str("level/", l), kCodes, ""});
    for (std::int64_t i = 0; i < kItems * tokens_; ++i)
      tokens.codes.push_back(static_cast<std::int32_t>(random.below(kCodes)));
    catalog_ =
        std::make_unique<Catalog>(std::move(tokens), CollisionPolicy::none, std::vector<std::int64_t>(kItems, 1));
    model_->build({data_, *catalog_, seed_}, nullptr);
    model_->initialize(seed_, "model.");
    head_.initialize(seed_, "head.");
    for (std::int64_t b = 0; b < batch_; ++b) {
      histories_.user.push_back(-1);
      for (std::int64_t i = 0; i < items_; ++i) {
        histories_.item.push_back(static_cast<std::int32_t>(random.below(kItems)));
        label_.push_back(random.uniform() < 0.3 ? 1.0f : 0.0f);
      }
      histories_.offset.push_back(histories_.size());
    }
    Optimizer::Named named = model_->parameters();
    for (const auto& [name, parameter] : head_.parameters()) named.emplace_back("head." + name, parameter);
    for (const auto& [name, parameter] : named) parameters_ += parameter->value.numel();
    optimizer_ = std::make_unique<Optimizer>(std::move(named), TrainOptions());
    for (std::int64_t c = a.number("candidates", 100); c > 0; --c) {
      const auto codes = catalog_->codes_of(static_cast<std::int32_t>(random.below(kItems)));
      candidates_.row.push_back(0);
      candidates_.code.insert(candidates_.code.end(), codes.begin(), codes.end());
    }
    candidates_.tokens = tokens_;
    first_.user = {-1};
    first_.item.assign(histories_.item.begin(), histories_.item.begin() + items_);
    first_.offset = {0, items_};
  }

  double step() {  // a click label at every item
    const TrainingScope scope(seed_, ++steps_);
    Tape tape;
    const Tensor logit = head_(model_->encode(histories_).states);
    const Tensor loss = bce_with_logits(logit.reshape({logit.rows()}), label_);
    const double value = loss.item();
    tape.backward(loss);
    optimizer_->step(1e-3, 1);
    return value;
  }
  Memory remember() { return model_->summarize(first_); }
  Tensor score(const Memory& memory) { return head_(model_->extend(memory, candidates_, nullptr)->states); }

  std::int64_t rows() const { return batch_ * items_ * (tokens_ + 1); }
  std::int64_t parameters() const { return parameters_; }

 private:
  std::int64_t items_;
  int tokens_;
  std::int64_t batch_, width_;
  std::uint64_t seed_, steps_ = 0;
  Registry registry_;
  Loader loader_;
  Linear head_;
  Dataset data_;
  std::unique_ptr<Catalog> catalog_;
  std::shared_ptr<tessera::Model> model_;
  std::unique_ptr<Optimizer> optimizer_;
  Histories histories_, first_;
  std::vector<float> label_;
  Candidates candidates_;
  std::int64_t parameters_ = 0;
};

void begin(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
}

void train(Arguments& a) {
  begin(a);
  const std::int64_t repeat = a.number("repeat", 5), warmup = a.number("warmup", 2);
  Hmat work(a);
  a.finish();
  double loss = 0.0;
  timed([&] { loss = work.step(); }, 0, warmup);
  const auto before = allocator_stats().system_allocations;
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { loss = work.step(); }, repeat, 0);
  const double cpu_each = (cpu_seconds() - cpu) / static_cast<double>(repeat);
  const auto after = allocator_stats();
  Report report("train_hmat");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("parameters", static_cast<double>(work.parameters()));
  report.seconds("seconds_per_step", seconds);
  report.number("cpu_seconds_per_step", cpu_each);
  report.number("tokens_per_second", static_cast<double>(work.rows()) / least(seconds));
  report.number("last_loss", loss);
  report.number("system_allocations_in_timed_steps", static_cast<double>(after.system_allocations - before));
  report.number("pool_peak_mib", static_cast<double>(after.peak_in_use) / (1 << 20));
  report.print();
}

void score(Arguments& a) {
  begin(a);
  const std::int64_t repeat = a.number("repeat", 50), warmup = a.number("warmup", 5);
  Hmat work(a);
  a.finish();
  const NoTape no_tape;
  Memory memory;
  const auto history = timed([&] { memory = work.remember(); }, repeat, warmup);
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { work.score(memory); }, repeat, warmup);
  const double cpu_each = (cpu_seconds() - cpu) / static_cast<double>(repeat + warmup);
  Report report("hmat_score");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.seconds("seconds_history_to_cache", history);
  report.seconds("seconds_cached_candidates", seconds);
  report.number("cpu_seconds_cached_candidates", cpu_each);
  report.print();
}

const Workload training("train_hmat", "training step of the plugin hmat, a click label at every item", train);
const Workload scoring("hmat_score", "candidates against a cached history with the plugin hmat", score);

}  // namespace
}  // namespace tessera::bench
