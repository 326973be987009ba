#include <cmath>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/allocator.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tools/bench/transformer.h"

namespace tessera::bench {
namespace {

// Training step of a decoder-only Transformer over semantic IDs: forward, backward and AdamW for batch x length tokens.
// Learned token and position embeddings, pre-norm blocks, untied output layer with bias, cross-entropy of the next
// token everywhere.
class TrainFlat {
 public:
  TrainFlat(Arguments& a)
      : batch_(a.number("batch", 256)),
        length_(a.number("length", 80)),
        vocabulary_(a.number("vocab", 1032)),
        sizes_{a.number("dim", 128), a.number("ffn", 512), a.number("layers", 4),
               static_cast<int>(a.number("heads", 4)), a.real("dropout", 0.0)},
        seed_(static_cast<std::uint64_t>(a.number("seed", 0))),
        model_(seed_, 1e-3, 0.01),
        token_(model_.normal("token", {vocabulary_, sizes_.width}, 1.0)),
        position_(model_.normal("position", {length_, sizes_.width}, 0.02)),
        transformer_(model_, sizes_),
        head_w_(
            model_.uniform("head.w", {vocabulary_, sizes_.width}, 1.0 / std::sqrt(static_cast<double>(sizes_.width)))),
        head_b_(model_.uniform("head.b", {vocabulary_}, 1.0 / std::sqrt(static_cast<double>(sizes_.width)))) {
    Random random(seed_, stream_of("tokens"));
    for (std::int64_t b = 0; b < batch_; ++b) {
      offset_.push_back(b * length_);
      auto next = static_cast<std::int32_t>(random.below(vocabulary_));
      for (std::int64_t t = 0; t < length_; ++t) {
        input_.push_back(next);
        target_.push_back(next = static_cast<std::int32_t>(random.below(vocabulary_)));
        place_.push_back(static_cast<std::int32_t>(t));
      }
    }
    offset_.push_back(tokens());
  }

  std::int64_t tokens() const { return batch_ * length_; }
  std::int64_t parameters() const { return model_.count(); }

  double step() {
    TrainingScope training(seed_, ++steps_);
    Tape tape;
    Tensor x = add(embedding(token_(), input_), embedding(position_(), place_));
    x = transformer_(dropout(x, sizes_.dropout), offset_);
    const Tensor loss = linear_cross_entropy(x, head_w_(), head_b_(), target_);
    const double value = loss.item();
    tape.backward(loss);
    model_.update();
    return value;
  }

  double gflop() const {  // of the products alone
    const double d = static_cast<double>(sizes_.width), f = static_cast<double>(sizes_.ffn);
    const double layer = 2.0 * (4.0 * d * d + 2.0 * d * f) + 2.0 * static_cast<double>(length_) * d;
    return 3e-9 * static_cast<double>(tokens()) *
           (static_cast<double>(sizes_.layers) * layer + 2.0 * d * static_cast<double>(vocabulary_));
  }

  std::vector<Product> products() const {
    const std::int64_t d = sizes_.width;
    return {{1024, 1024, 1024},
            {tokens(), sizes_.ffn, d},
            {tokens(), d, sizes_.ffn},
            {tokens(), 3 * d, d},
            {tokens(), vocabulary_, d}};
  }

 private:
  std::int64_t batch_, length_, vocabulary_;
  TransformerSizes sizes_;
  std::uint64_t seed_, steps_ = 0;
  Model model_;
  Parameter &token_, &position_;
  Transformer transformer_;
  Parameter &head_w_, &head_b_;
  std::vector<std::int32_t> input_, target_, place_;
  std::vector<std::int64_t> offset_;
};

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 5), warmup = a.number("warmup", 2);
  const std::int64_t gemm_repeat = a.number("gemm-repeat", 5);  // 0: the yardstick is left out
  TrainFlat work(a);
  a.finish();
  double loss = 0.0;
  timed([&] { loss = work.step(); }, 0, warmup);
  const auto before = allocator_stats().system_allocations;
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { loss = work.step(); }, repeat, 0);
  const double cpu_each = (cpu_seconds() - cpu) / static_cast<double>(repeat);
  const auto after = allocator_stats();
  Report report("train_flat");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("parameters", static_cast<double>(work.parameters()));
  report.seconds("seconds_per_step", seconds);
  report.number("cpu_seconds_per_step", cpu_each);
  report.number("tokens_per_second", static_cast<double>(work.tokens()) / least(seconds));
  report.number("gflop_per_step", work.gflop());
  const double rate = work.gflop() / least(seconds),
               best = gemm_repeat > 0 ? best_gemm_rate(work.products(), gemm_repeat) : 0.0;
  report.number("gflops_at_min", rate);
  report.number("best_gemm_gflops", best);
  if (best > 0.0) report.number("share_of_best_gemm", rate / best);
  report.number("last_loss", loss);
  report.number("system_allocations_in_timed_steps", static_cast<double>(after.system_allocations - before));
  report.number("pool_peak_mib", static_cast<double>(after.peak_in_use) / (1 << 20));
  report.print();
}

const Workload workload("train_flat", "training step of a decoder-only Transformer over semantic IDs", run);

}  // namespace
}  // namespace tessera::bench
