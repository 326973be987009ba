#include "framework/nn/quantized_autoencoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/core/parallel.h"
#include "tensor/core/random.h"
#include "tensor/ops/matmul/matmul.h"

namespace tessera {
namespace {

// Rows on a curved sheet of `rank` dimensions in `width`.
Tensor sheet(std::int64_t rows, std::int64_t width, std::int64_t rank, std::uint64_t seed) {
  Tensor hidden({rows, rank}), map({rank, width});
  fill_normal(hidden, 0.0, 1.0, seed, 1);
  fill_normal(map, 0.0, 1.0, seed, 2);
  Tensor x = matmul(hidden, map);
  for (float& value : x.values<float>()) value = std::tanh(value);
  return x;
}

AutoencoderOptions small_network() {
  AutoencoderOptions options;
  options.input = 24;
  options.widths = {32, 8};
  options.quantizer.codes = 16;
  return options;
}

AutoencoderTraining short_training() {
  AutoencoderTraining training;
  training.epochs = 30;
  training.warmup_epochs = 5;
  training.batch = 100;
  training.learning_rate = 3e-3;
  return training;
}

double error_of_codes(QuantizedAutoencoder& network, const Tensor& x) {
  const Tensor y = network.decode(network.quantizer().decode(encode_rows(network, x), 3));
  double sum = 0.0;
  for (std::int64_t i = 0; i < x.numel(); ++i) sum += std::pow(x.data<float>()[i] - y.data<float>()[i], 2);
  return sum / static_cast<double>(x.numel());
}

std::string bytes_of(QuantizedAutoencoder& network) {
  std::string out;
  for (const auto& [name, parameter] : network.parameters())
    out.append(static_cast<const char*>(parameter->value.raw()), parameter->value.bytes());
  return out;
}

}  // namespace

TEST(QuantizedAutoencoder, EveryVariantLearnsAndUsesItsCodes) {
  const Tensor x = sheet(512, 24, 4, 1);
  double variance = 0.0;
  for (const float v : x.values<float>()) variance += v * v;
  variance /= static_cast<double>(x.numel());
  for (const bool average : {false, true})
    for (const bool rotation : {false, true})
      for (const double sinkhorn : {0.0, 0.01}) {
        AutoencoderOptions options = small_network();
        options.quantizer.moving_average = average;
        options.quantizer.rotation = rotation;
        options.quantizer.sinkhorn = sinkhorn;
        QuantizedAutoencoder network(options);
        AutoencoderTrainer trainer(network, short_training(), 1);
        trainer.fit(x, {});
        const double share = error_of_codes(network, x) / variance;
        EXPECT_LT(share, 0.25) << average << rotation << sinkhorn;
        std::int64_t unused = 0;
        for (const auto hit : trainer.hits()) unused += hit == 0;
        EXPECT_LE(unused, 4) << average << rotation << sinkhorn;
      }
}

TEST(QuantizedAutoencoder, SameBytesForAnyNumberOfThreads) {
  const Tensor x = sheet(300, 24, 4, 2);
  AutoencoderTraining training = short_training();
  training.epochs = 12;
  std::string first;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    AutoencoderOptions options = small_network();
    options.quantizer.sinkhorn = 0.01;
    QuantizedAutoencoder network(options);
    AutoencoderTrainer(network, training, 3).fit(x, {});
    if (count == 1) first = bytes_of(network);
    EXPECT_EQ(bytes_of(network), first) << count;
  }
  set_threads(1);
  QuantizedAutoencoder other(small_network());
  AutoencoderTrainer(other, training, 4).fit(x, {});
  EXPECT_NE(bytes_of(other), first);
}

TEST(QuantizedAutoencoder, WithoutANetworkItIsResidualKMeans) {
  const Tensor x = sheet(400, 24, 3, 3);
  AutoencoderOptions options = small_network();
  options.widths = {};
  QuantizedAutoencoder network(options);
  EXPECT_FALSE(network.has_network());
  AutoencoderTraining training = short_training();
  training.epochs = 0;
  AutoencoderTrainer(network, training, 1).fit(x, {});
  ResidualQuantizer direct(network.quantizer().options());
  direct.seed(x, training.kmeans, FitContext{1}, "autoencoder");
  EXPECT_EQ(encode_rows(network, x), direct.encode(x));
}

TEST(QuantizedAutoencoder, CollapseIsToldAndRefused) {
  AutoencoderOptions options = small_network();
  options.quantizer.codes = 64;
  QuantizedAutoencoder network(options);
  AutoencoderTraining training = short_training();
  training.start = "uniform";
  training.warmup_epochs = 0;
  training.restarts = 1;
  std::vector<std::string> said;
  FitContext context;
  context.say = [&](const std::string& line) { said.push_back(line); };
  const Tensor same = Tensor::full({200, 24}, 1.0);  // one row, many times: one code of 64 serves them all
  try {
    AutoencoderTrainer(network, training, 1).fit(same, context);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("autoencoder: collapsed at every learning rate tried"), std::string::npos);
  }
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[0].find("% of the first level's codes are in use; once more with a third of the learning rate"),
            std::string::npos)
      << said[0];
}

TEST(QuantizedAutoencoder, StopsWhenAsked) {
  QuantizedAutoencoder network(small_network());
  FitContext context;
  int calls = 0;
  context.stop = [&] { return ++calls > 2; };
  EXPECT_THROW(AutoencoderTrainer(network, short_training(), 1).fit(sheet(200, 24, 4, 5), context), Stopped);
}

}  // namespace tessera
