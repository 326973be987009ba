#include <functional>
#include <string>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/anchor_attention/anchor_attention.h"
#include "tensor/ops/attention/attention.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

struct Sizes {
  std::int64_t block, heads, width, batch;
};

// One layer's attention over `batch` histories of n items: through anchors, and over all rows of the past.
class Layer {
 public:
  Layer(const Sizes& sizes, std::int64_t n, std::int64_t candidates) : sizes_(sizes), items_(n) {
    const std::int64_t inner = sizes.heads * sizes.width;
    anchors_.heads = flat_.heads = static_cast<int>(sizes.heads);
    anchors_.block = static_cast<int>(sizes.block);
    flat_.rope_base = 10000.0;
    for (std::int64_t b = 0; b <= sizes.batch; ++b) {
      blocks_.push_back(b * n);
      rows_.push_back(b * n * sizes.block);
    }
    qkv_ = Tensor({rows_.back(), 3 * inner});
    dy_ = Tensor({rows_.back(), inner});
    ask_ = Tensor({candidates * sizes.block, 3 * inner});
    fill_normal(qkv_, 0, 1, 1, 1);
    fill_normal(dy_, 0, 1, 1, 2);
    fill_normal(ask_, 0, 1, 1, 3);
    history_.assign(static_cast<std::size_t>(candidates), 0);
    seen_.assign(static_cast<std::size_t>(candidates), n);
  }

  // Pairs of rows that one head of one history scores, counted row by row.
  double pairs(bool full) const {
    double count = 0;
    for (std::int64_t item = 0; item < items_; ++item)
      for (std::int64_t slot = 0; slot < sizes_.block; ++slot)
        count += static_cast<double>(slot + 1 + item * (full ? sizes_.block : 1));
    return count;
  }
  void forward(bool full) { attend(full, qkv_); }
  void step(bool full) {
    Tape tape;
    tape.backward(attend(full, tape.watch(qkv_)), dy_);
  }
  // Remembered of one history; candidates are scored against it.
  Tensor remember(bool full) {
    return remembered_rows(qkv_.row_range(0, items_ * sizes_.block), std::vector<std::int64_t>{0, items_}, {}, {},
                           options(full));
  }
  void candidates(bool full, const Tensor& past) {
    anchor_attention_past(ask_, past, std::vector<std::int64_t>{0, items_}, history_, seen_, options(full));
  }

 private:
  AnchorOptions options(bool full) const {
    AnchorOptions options = anchors_;
    if (full) options.mask = AnchorMask::full;
    return options;
  }
  Tensor attend(bool full, const Tensor& qkv) {
    return full ? self_attention(qkv, rows_, flat_) : anchor_attention(qkv, blocks_, {}, anchors_);
  }

  Sizes sizes_;
  std::int64_t items_;
  AnchorOptions anchors_;
  AttentionOptions flat_;
  std::vector<std::int64_t> blocks_, rows_, seen_;
  std::vector<std::int32_t> history_;
  Tensor qkv_, dy_, ask_;
};

// CPU seconds of one thread: the work itself, also on a busy machine.
std::vector<double> cpu_timed(const std::function<void()>& f, std::int64_t repeat) {
  f();
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < repeat; ++i) {
    const double start = cpu_seconds();
    f();
    seconds.push_back(cpu_seconds() - start);
  }
  return seconds;
}

void run(Arguments& a) {
  set_threads(1);
  const std::int64_t repeat = a.number("repeat", 10);
  const Sizes sizes{a.number("tokens", 4) + 1, a.number("heads", 4), a.number("head-width", 32), a.number("batch", 8)};
  const std::int64_t candidates = a.number("candidates", 100);
  a.finish();
  Report report("anchor_cost");
  for (const std::int64_t n : {75, 150, 300, 600}) {
    Layer layer(sizes, n, candidates);
    for (const bool full : {false, true}) {
      const std::string name = (full ? "full " : "anchors ") + std::to_string(n);
      report.number(name + " pairs", layer.pairs(full));
      report.seconds(name + " forward", cpu_timed([&] { layer.forward(full); }, repeat));
      report.seconds(name + " step", cpu_timed([&] { layer.step(full); }, repeat));
      const Tensor past = layer.remember(full);
      report.number(name + " memory_kib", static_cast<double>(past.bytes()) / 1024);
      report.seconds(name + " candidates", cpu_timed([&] { layer.candidates(full, past); }, repeat));
    }
  }
  report.print();
}

const Workload workload("anchor_cost", "one layer's attention through anchors and over all rows, by history length",
                        run);

}  // namespace
}  // namespace tessera::bench
