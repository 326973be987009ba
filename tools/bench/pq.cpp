#include <cmath>
#include <vector>

#include "framework/data/npy.h"
#include "framework/nn/linalg.h"
#include "framework/nn/product_quantizer.h"
#include "tensor/core/error.h"
#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/gemm/gemm.h"
#include "tools/bench/bench.h"

namespace tessera::bench {
namespace {

Tensor random_data() {
  Tensor x({12101, 384});
  fill_normal(x, 0.0, 1.0, 1, stream_of("data"));
  return x;
}

// Sum of squared distances of rows to `to` (row by row, or its one row), a row.
double mean_square(const Tensor& x, const Tensor& to) {
  double sum = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double d = x.data<float>()[i] - to.data<float>()[i % to.numel()];
    sum += d * d;
  }
  return sum / static_cast<double>(x.rows());
}

Tensor mean_of(const Tensor& x) {
  std::vector<double> sum(static_cast<std::size_t>(x.columns()), 0.0);
  for (std::int64_t i = 0; i < x.numel(); ++i) sum[static_cast<std::size_t>(i % x.columns())] += x.data<float>()[i];
  Tensor mean({x.columns()});
  for (std::size_t j = 0; j < sum.size(); ++j)
    mean.data<float>()[j] = static_cast<float>(sum[j] / static_cast<double>(x.rows()));
  return mean;
}

// Training of rotation and codebooks as faiss does it: 40 rounds of k-means, then `iters` turns of a rotation and 4
// rounds, then 25 rounds; plain product quantisation with 25 rounds; encoding and decoding of all rows.
void run(Arguments& a) {
  set_threads(static_cast<int>(a.number("threads", 2)));
  set_gemm_backend(a.text("gemm", "auto"));
  const std::int64_t repeat = a.number("repeat", 1);
  const std::string path = a.text("data", "../shared/data/beauty/text_minilm384_f16.npy");
  ProductQuantizerOptions options;
  options.subspaces = static_cast<int>(a.number("m", 8));
  options.codes = 1 << a.number("bits", 8);
  options.turns = static_cast<int>(a.number("iters", 50));
  options.compare = false;
  FitContext context;
  context.seed = static_cast<std::uint64_t>(a.number("seed", 1));
  const Tensor x = path == "random" ? random_data() : read_npy(path);
  a.finish();
  ProductQuantizer opq, plain;
  const double cpu = cpu_seconds();
  const auto train = timed([&] { opq.fit(x, options, context, "pq"); }, repeat, 0);
  const double cpu_each = (cpu_seconds() - cpu) / static_cast<double>(repeat);
  ProductQuantizerOptions without = options;
  without.rotation = "none";
  without.first_rounds = 0;
  const auto train_plain = timed([&] { plain.fit(x, without, context, "pq"); }, repeat + 2, 0);
  std::vector<std::int32_t> codes;
  Tensor y;
  const auto encode = timed([&] { codes = opq.encode(x); }, 10, 1);
  const auto decode = timed([&] { y = opq.decode(codes); }, 10, 1);
  const double variance = mean_square(x, mean_of(x));
  Report report("pq");
  report.number("threads", threads());
  report.text("gemm", gemm_backend_name());
  report.number("rows", static_cast<double>(x.rows()));
  report.seconds("seconds_train_opq", train);
  report.number("cpu_seconds_train_opq", cpu_each);
  report.seconds("seconds_train_pq", train_plain);
  report.seconds("seconds_encode_all", encode);
  report.number("vectors_per_second", static_cast<double>(x.rows()) / least(encode));
  report.seconds("seconds_decode_all", decode);
  report.number("relative_error_opq", mean_square(x, y) / variance);
  report.number("relative_error_pq", mean_square(x, plain.decode(plain.encode(x))) / variance);
  report.print();
}

const Workload workload("pq", "training of a rotation and codebooks (OPQ), encoding and decoding of item vectors", run);

}  // namespace
}  // namespace tessera::bench
