#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <sstream>
#include <vector>

#include "tensor/autograd/tape.h"
#include "tensor/core/allocator.h"
#include "tensor/core/error.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/cross_entropy/cross_entropy.h"
#include "tensor/ops/dropout/dropout.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/reduce/reduce.h"
#include "tools/bench/transformer.h"

namespace tessera::bench {
namespace {

using Sequence = std::vector<std::int32_t>;

// Lines of `user item item ...`, items from 1. All but the last two items of users with four or more.
std::vector<Sequence> training_sequences(const std::string& path, std::int32_t& items) {
  std::ifstream file(path);
  check(file.is_open(), "sasrec: cannot open ", path, "; give --data FILE (lines of: user item item ...)");
  std::vector<Sequence> out;
  items = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::int64_t user = 0;
    words >> user;
    Sequence sequence;
    for (std::int32_t item = 0; words >> item;) sequence.push_back(item - 1);
    for (const std::int32_t item : sequence) items = std::max(items, item + 1);
    if (sequence.size() > 3) out.emplace_back(sequence.begin(), sequence.end() - 2);
  }
  return out;
}

// SASRec: item table tied with the output, learned positions, causal blocks, the last 50 items, a target at every
// position. Loss: cross-entropy over all items (ce) or one uniform negative a position (bce). Rows are jagged, so
// batches need no padding.
class Sasrec {
 public:
  Sasrec(Arguments& a, std::vector<Sequence> sequences, std::int32_t items)
      : sequences_(std::move(sequences)),
        items_(items),
        batch_(a.number("batch", 256)),
        length_(a.number("maxlen", 50)),
        loss_(a.text("loss", "ce")),
        sizes_{a.number("dim", 64),    a.number("ffn", 256),
               a.number("layers", 2),  static_cast<int>(a.number("heads", 2)),
               a.real("dropout", 0.5), 0.02},
        seed_(static_cast<std::uint64_t>(a.number("seed", 0))),
        model_(seed_, a.real("lr", 1e-3), a.real("wd", 0.0)),
        item_(model_.normal("item", {items, sizes_.width}, 0.02)),
        position_(model_.normal("position", {length_, sizes_.width}, 0.02)),
        transformer_(model_, sizes_),
        order_(sequences_.size()) {
    check(loss_ == "ce" || loss_ == "bce", "sasrec: --loss ", loss_, ", expected ce or bce");
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  const std::string& loss() const { return loss_; }
  std::size_t users() const { return sequences_.size(); }

  double epoch() {  // the mean loss of its steps
    Random random(seed_, stream_of("order/" + std::to_string(epochs_++)));
    random.shuffle(std::span(order_));
    double sum = 0.0;
    std::int64_t steps = 0;
    for (std::size_t at = 0; at < order_.size(); at += static_cast<std::size_t>(batch_), ++steps)
      sum += step(std::span(order_).subspan(at, std::min(static_cast<std::size_t>(batch_), order_.size() - at)));
    return sum / static_cast<double>(steps);
  }

 private:
  void fill(std::span<const std::size_t> users) {
    offset_.assign(1, 0);
    for (auto* rows : {&input_, &target_, &place_}) rows->clear();
    for (const std::size_t user : users) {
      const Sequence& s = sequences_[user];
      const auto n = std::min<std::int64_t>(length_, static_cast<std::int64_t>(s.size()) - 1);
      input_.insert(input_.end(), s.end() - 1 - n, s.end() - 1);
      target_.insert(target_.end(), s.end() - n, s.end());
      for (std::int64_t i = 0; i < n; ++i) place_.push_back(static_cast<std::int32_t>(i));
      offset_.push_back(offset_.back() + n);
    }
  }

  double step(std::span<const std::size_t> users) {
    fill(users);
    TrainingScope training(seed_, ++steps_);
    Tape tape;
    const Tensor table = item_();
    Tensor h = dropout(add(embedding(table, input_), embedding(position_(), place_)), sizes_.dropout);
    h = transformer_(h, offset_);
    const Tensor loss = loss_ == "ce" ? linear_cross_entropy(h, table, {}, target_) : negative_loss(h, table);
    const double value = loss.item();
    tape.backward(loss);
    model_.update();
    return value;
  }

  Tensor negative_loss(const Tensor& h, const Tensor& table) {
    Random random(seed_, stream_of("negatives/" + std::to_string(steps_)));
    Sequence negative(target_.size());
    for (auto& item : negative) item = static_cast<std::int32_t>(random.below(items_));
    const Tensor p = row_dot(h, embedding(table, target_)), q = row_dot(h, embedding(table, negative));
    return add(mean(softplus(scale(p, -1.0))), mean(softplus(q)));
  }

  std::vector<Sequence> sequences_;
  std::int32_t items_;
  std::int64_t batch_, length_;
  std::string loss_;
  TransformerSizes sizes_;
  std::uint64_t seed_, steps_ = 0, epochs_ = 0;
  Model model_;
  Parameter &item_, &position_;
  Transformer transformer_;
  std::vector<std::size_t> order_;
  Sequence input_, target_, place_;
  std::vector<std::int64_t> offset_;
};

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t epochs = a.number("epochs", 2);
  std::int32_t items = 0;
  auto sequences = training_sequences(a.text("data", "../shared/data/beauty/sequences.txt"), items);
  Sasrec work(a, std::move(sequences), items);
  a.finish();
  double loss = work.epoch();
  const auto before = allocator_stats().system_allocations;
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { loss = work.epoch(); }, epochs, 0);
  Report report("sasrec");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.text("loss", work.loss());
  report.number("users", static_cast<double>(work.users()));
  report.number("items", items);
  report.seconds("seconds_per_epoch", seconds);
  report.number("cpu_seconds_per_epoch", (cpu_seconds() - cpu) / static_cast<double>(epochs));
  report.number("last_loss", loss);
  report.number("system_allocations_in_timed_epochs",
                static_cast<double>(allocator_stats().system_allocations - before));
  report.print();
}

const Workload workload("sasrec", "one epoch of SASRec on sequences; --loss ce or bce", run);

}  // namespace
}  // namespace tessera::bench
