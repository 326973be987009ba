#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "framework/checkpoint/safetensors.h"
#include "framework/nn/quantized_autoencoder.h"
#include "tensor/autograd/tape.h"

namespace tessera {
namespace {

// The largest difference as a share of the largest expected number.
double difference(const Tensor& found, const Tensor& expected) {
  const Tensor a = found.to(DType::f64);
  EXPECT_EQ(a.numel(), expected.numel());
  double worst = 0.0, top = 0.0;
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    worst = std::max(worst, std::abs(a.data<double>()[i] - expected.data<double>()[i]));
    top = std::max(top, std::abs(expected.data<double>()[i]));
  }
  return worst / top;
}

}  // namespace

TEST(RqVaeGoldenGrad, OneStepEqualsPyTorch) {
  const TensorFile golden = read_safetensors(TESSERA_SOURCE_DIR "/tests/golden/rq_vae.safetensors");
  const auto& expected = golden.tensors;
  for (const std::string name : {"straight_through", "rotation"})
    for (const auto& [dtype, tolerance] : {std::pair(DType::f64, 1e-12), std::pair(DType::f32, 1e-5)}) {
      AutoencoderOptions options;
      options.input = 10;
      options.widths = {8, 6, 4};
      options.quantizer_weight = 0.7;
      options.quantizer.codes = 5;
      options.quantizer.rotation = name == "rotation";
      QuantizedAutoencoder network(options);
      for (auto& [key, parameter] : network.parameters()) {
        const Tensor& value = expected.at("value/" + key);
        ASSERT_EQ(value.shape(), parameter->value.shape()) << key;
        parameter->value = value.to(dtype);
      }
      const Tensor x = expected.at("x").to(dtype);
      Tape tape;
      ResidualQuantizer::Output out;
      const Tensor loss = network.loss(x, out);
      tape.backward(loss);
      SCOPED_TRACE(name + " in " + name_of(dtype));
      const auto codes = expected.at(name + "/codes").values<std::int32_t>();
      EXPECT_TRUE(std::equal(codes.begin(), codes.end(), out.codes.begin(), out.codes.end()));
      EXPECT_LT(difference(loss, expected.at(name + "/loss")), tolerance);
      EXPECT_LT(difference(out.vectors, expected.at(name + "/q")), tolerance);
      EXPECT_LT(difference(network.decode(out.vectors), expected.at(name + "/y")), tolerance);
      for (auto& [key, parameter] : network.parameters())
        EXPECT_LT(difference(parameter->gradient, expected.at(name + "/gradient/" + key)), tolerance) << key;
    }
}

}  // namespace tessera
