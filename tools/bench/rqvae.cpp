#include <cmath>
#include <numeric>
#include <vector>

#include "framework/data/npy.h"
#include "tensor/autograd/tape.h"
#include "tensor/core/allocator.h"
#include "tensor/core/error.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/linear/linear.h"
#include "tensor/ops/losses/losses.h"
#include "tensor/ops/nearest_code/nearest_code.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

// RQ-VAE over a matrix of item vectors: encoder 512-256-128-32 with ReLU, mirrored decoder, 3 levels x 256 codes,
// nearest code on the residual, straight-through gradient. Loss: mean squared error + per level codebook term + 0.25
// commitment term.
class RqVae {
 public:
  RqVae(Arguments& a, Tensor data)
      : data_(std::move(data)),
        batch_(a.number("batch", 1024)),
        codes_(a.number("codes", 256)),
        levels_(a.number("levels", 3)),
        seed_(static_cast<std::uint64_t>(a.number("seed", 0))),
        model_(seed_, 1e-3, 0.01),
        widths_{data_.dim(1), 512, 256, 128, 32},
        order_(static_cast<std::size_t>(data_.dim(0))) {
    for (std::size_t i = 0; i + 1 < widths_.size(); ++i)
      encoder_.push_back(layer("encoder", widths_[i], widths_[i + 1]));
    for (std::size_t i = widths_.size() - 1; i > 0; --i)
      decoder_.push_back(layer("decoder", widths_[i], widths_[i - 1]));
    std::iota(order_.begin(), order_.end(), 0);
    for (std::int64_t l = 0; l < levels_; ++l)
      books_.push_back(&model_.constant("book." + std::to_string(l), {codes_, widths_.back()}, 0.0));
    seed_codebooks();
  }

  double epoch() {
    Random random(seed_, stream_of("order/" + std::to_string(epochs_++)));
    random.shuffle(std::span(order_));
    double loss = 0.0;
    for (std::size_t at = 0; at < order_.size(); at += static_cast<std::size_t>(batch_))
      loss = step(gather_rows(
          data_, std::span(order_).subspan(at, std::min(static_cast<std::size_t>(batch_), order_.size() - at))));
    return loss;
  }

  double step(const Tensor& x) {
    Tape tape;
    Tensor r = network(x, encoder_), loss, q;
    const Tensor z = r;
    for (Parameter* book : books_) {
      const Tensor table = (*book)();
      const Tensor e = embedding(table, nearest_code(r.detach(), book->value));
      const Tensor terms = add(mse(e, r.detach()), scale(mse(r, e.detach()), 0.25));
      loss = loss ? add(loss, terms) : terms;
      q = q ? add(q, e.detach()) : e.detach();
      r = subtract(r, e.detach());
    }
    const Tensor through = add(z, subtract(q, z.detach()));
    loss = add(loss, mse(network(through, decoder_), x));
    const double value = loss.item();
    tape.backward(loss);
    model_.update();
    return value;
  }

  void encode_all(std::int64_t rows) {
    for (std::int64_t at = 0; at < data_.dim(0); at += rows) {
      Tensor r = network(data_.row_range(at, std::min(at + rows, data_.dim(0))), encoder_);
      for (Parameter* book : books_) r = subtract(r, embedding(book->value, nearest_code(r, book->value)));
    }
  }

  Tensor first_batch() const { return data_.row_range(0, std::min(batch_, data_.dim(0))).clone(); }
  std::int64_t rows() const { return data_.dim(0); }

 private:
  struct Layer {
    Parameter *w, *b;
  };

  Layer layer(const std::string& name, std::int64_t in, std::int64_t out) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in));
    const std::string full = name + "." + std::to_string(in) + "." + std::to_string(out);
    return {&model_.uniform(full + ".w", {in, out}, bound), &model_.uniform(full + ".b", {out}, bound)};
  }

  Tensor network(Tensor x, const std::vector<Layer>& layers) const {
    for (std::size_t i = 0; i < layers.size(); ++i)
      x = linear(x, (*layers[i].w)(), (*layers[i].b)(), i + 1 < layers.size() ? Activation::relu : Activation::none);
    return x;
  }

  // Random rows of the first batch's residuals.
  void seed_codebooks() {
    Random random(seed_, stream_of("codebooks"));
    random.shuffle(std::span(order_));
    Tensor r =
        network(gather_rows(data_, std::span(order_).first(static_cast<std::size_t>(std::min(batch_, data_.dim(0))))),
                encoder_);
    for (Parameter* book : books_) {
      check(r.dim(0) >= codes_, "rqvae: a batch of ", r.dim(0), " rows cannot seed ", codes_, " codes");
      std::vector<std::int32_t> rows(static_cast<std::size_t>(r.dim(0)));
      std::iota(rows.begin(), rows.end(), 0);
      random.shuffle(std::span(rows));
      book->value.copy_from(gather_rows(r, std::span(rows).first(static_cast<std::size_t>(codes_))));
      r = subtract(r, embedding(book->value, nearest_code(r, book->value)));
    }
  }

  Tensor data_;
  std::int64_t batch_, codes_, levels_;
  std::uint64_t seed_, epochs_ = 0;
  Model model_;
  std::vector<std::int64_t> widths_;
  std::vector<std::int32_t> order_;
  std::vector<Layer> encoder_, decoder_;
  std::vector<Parameter*> books_;
};

Tensor random_data() {
  Tensor x({12101, 384});
  fill_normal(x, 0.0, 1.0, 1, stream_of("data"));
  return x;
}

void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 20), warmup = a.number("warmup", 5), epochs = a.number("epochs", 5);
  const std::string path = a.text("data", "../shared/data/beauty/text_minilm384_f16.npy");
  RqVae work(a, path == "random" ? random_data() : read_npy(path));
  a.finish();
  const Tensor batch = work.first_batch();
  double loss = 0.0;
  const auto steps = timed([&] { loss = work.step(batch); }, repeat, warmup);
  loss = work.epoch();
  const auto before = allocator_stats().system_allocations;
  const double cpu = cpu_seconds();
  const auto seconds = timed([&] { loss = work.epoch(); }, epochs, 0);
  const double cpu_each = (cpu_seconds() - cpu) / static_cast<double>(epochs);
  const auto after = allocator_stats().system_allocations;
  const auto encode = timed([&] { work.encode_all(4096); }, repeat, 2);
  Report report("rqvae");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("rows", static_cast<double>(work.rows()));
  report.seconds("seconds_per_step", steps);
  report.seconds("seconds_per_epoch", seconds);
  report.number("cpu_seconds_per_epoch", cpu_each);
  report.seconds("seconds_encode_all", encode);
  report.number("vectors_per_second", static_cast<double>(work.rows()) / least(encode));
  report.number("last_loss", loss);
  report.number("system_allocations_in_timed_epochs", static_cast<double>(after - before));
  report.print();
}

const Workload workload("rqvae", "training step and epoch of RQ-VAE on item vectors, and encoding all of them", run);

}  // namespace
}  // namespace tessera::bench
