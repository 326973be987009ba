#include "plugins/dst/network.h"

#include <gtest/gtest.h>

#include <cmath>

#include "framework/nn/club.h"
#include "tensor/autograd/gradcheck.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/elementwise/elementwise.h"
#include "tensor/ops/embedding/embedding.h"
#include "tensor/ops/losses/losses.h"

namespace tessera {
namespace {

DstOptions small_options() {
  DstOptions options;
  options.widths = {6};
  options.width = 4;
  options.shared_codes = 3;
  options.modality_levels = 2;
  options.modality_codes = 3;
  options.temperature = 0.5;
  return options;
}

// Eight items; the fourth lacks the first modality, the last the second.
DstInput input_of(std::size_t modalities) {
  DstInput input;
  for (std::size_t m = 0; m < modalities; ++m) {
    input.x.push_back(random_f64({8, 5 + static_cast<std::int64_t>(m)}, 31 + m));
    input.present.push_back(std::vector<std::uint8_t>(8, 1));
    input.group.push_back({0, 1, 2, 3, 1, 5, 6, 7});
  }
  input.present[0][3] = input.present[1][7] = 0;
  return input;
}

const std::vector<std::int32_t> kItems{7, 3, 0, 5, 1, 2, 4, 6};

void in_f64(DstNetwork& network) {
  network.initialize(3, "dst/");
  std::uint64_t seed = 100;
  for (auto& [name, parameter] : network.parameters())
    parameter->value = random_f64(parameter->value.shape(), ++seed, 0.5);
}

// The bound with a fixed estimator, so that the straight-through part meets it too.
Tensor information(const DstNetwork::Parts& parts, const Club& club) {
  Tensor sum;
  for (std::size_t m = 0; m < parts.own.size(); ++m) {
    const Tensor term = club.bound(standardize_columns(parts.shared_of[m]), standardize_columns(parts.own[m]));
    sum = sum ? add(sum, term) : term;
  }
  return sum;
}

Tensor loss_of(DstNetwork& network, const Club& club, const DstBatch& batch, const DstNetwork::Parts& parts) {
  Tensor loss = add(network.reconstruction(batch, parts), scale(network.shared_reconstruction(batch, parts), 0.25));
  loss = add(loss, add(network.quantization(parts), scale(network.alignment(batch, parts), 0.5)));
  return add(loss, scale(information(parts, club), 0.2));
}

// What a quantiser does to vectors near those of `base`, with its codes, the constant that it adds, and the vectors
// that its levels subtract all frozen: the function of which straight-through is the true gradient.
void frozen(const Tensor& z, const ResidualQuantizer& quantizer, const ResidualQuantizer::Output& base, Tensor& vectors,
            Tensor& loss) {
  const int levels = quantizer.options().levels;
  vectors = add(z, subtract(base.vectors.detach(), base.residuals[0]));
  loss = {};
  for (int l = 1; l <= levels; ++l) {
    const Tensor term = scale(mse(z, quantizer.decode(base.codes, l)), quantizer.options().commitment);
    loss = loss ? add(loss, term) : term;
  }
}

double frozen_loss(DstNetwork& network, const Club& club, const DstBatch& batch, const DstNetwork::Parts& base) {
  DstNetwork::Parts parts = network.forward(batch, false);
  frozen(parts.consensus, network.shared(), base.shared_codes, parts.shared, parts.shared_codes.loss);
  for (std::size_t m = 0; m < network.modalities(); ++m) {
    DstBranch& branch = network.branch(m);
    parts.shared_of[m] = gather_rows(parts.shared, batch.row[m]);
    parts.own[m] = branch.own(parts.hidden[m], parts.aligned[m], base.shared_of[m]);
    frozen(parts.own[m], branch.quantizer(), base.own_codes[m], parts.coded[m], parts.own_codes[m].loss);
  }
  return loss_of(network, club, batch, parts).item();
}

}  // namespace

TEST(DstNetworkGrad, StraightThroughEqualsFiniteDifferencesWithFrozenCodes) {
  for (const std::size_t modalities : {2u, 3u})
    for (const char* residual : {"private", "plain"})
      for (const char* align : {"infonce", "gram"}) {
        SCOPED_TRACE(str(modalities, " ", residual, " ", align));
        DstOptions options = small_options();
        options.residual = residual;
        options.align = align;
        const DstInput input = input_of(modalities);
        std::vector<std::int64_t> widths;
        for (const Tensor& x : input.x) widths.push_back(x.columns());
        DstNetwork network(options, widths);
        in_f64(network);
        Club club(4, 4, 5);
        club.initialize(1, "club/");
        for (auto& [name, parameter] : club.parameters()) parameter->value = parameter->value.to(DType::f64);
        const DstBatch batch = pick(input, kItems);
        DstNetwork::Parts base;
        {
          Tape tape;
          base = network.forward(batch, true);
          const Tensor loss = loss_of(network, club, batch, base);
          tape.backward(loss);
          EXPECT_NEAR(loss.item(), frozen_loss(network, club, batch, base), 1e-12);
        }
        for (auto& [name, parameter] : network.parameters()) {
          if (name.find("codebooks") != std::string::npos) {
            EXPECT_FALSE(static_cast<bool>(parameter->gradient)) << name << " follows averages";
            continue;
          }
          ASSERT_TRUE(static_cast<bool>(parameter->gradient)) << name;
          for (std::int64_t i = 0; i < parameter->value.numel(); ++i) {
            double& value = parameter->value.data<double>()[i];
            const double kept = value;
            const auto at = [&](double moved) {
              value = moved;
              return frozen_loss(network, club, batch, base);
            };
            const double numeric = (at(kept + 1e-6) - at(kept - 1e-6)) / 2e-6;
            value = kept;
            EXPECT_NEAR(parameter->gradient.data<double>()[i], numeric, 1e-6 * std::max(1.0, std::abs(numeric)))
                << name << " " << i;
          }
        }
      }
}

TEST(DstNetwork, AbsentRowsAreLeftOutOfTheMean) {
  const DstInput input = input_of(2);
  DstNetwork network(small_options(), {5, 6});
  in_f64(network);
  const DstBatch batch = pick(input, kItems);
  EXPECT_EQ(batch.row[0], (std::vector<std::int32_t>{0, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(batch.place[1], (std::vector<std::int32_t>{-1, 0, 1, 2, 3, 4, 5, 6}));
  const auto parts = network.forward(batch, false);
  for (std::int64_t d = 0; d < 4; ++d) {
    const double first = parts.aligned[0].data<double>()[d], second = parts.aligned[1].data<double>()[d];
    EXPECT_NEAR(parts.consensus.data<double>()[d], 2.0 * first, 1e-12);       // item 7 has the first alone
    EXPECT_NEAR(parts.consensus.data<double>()[4 + d], 2.0 * second, 1e-12);  // item 3 the second
    EXPECT_NEAR(parts.consensus.data<double>()[8 + d],
                parts.aligned[0].data<double>()[4 + d] + parts.aligned[1].data<double>()[4 + d], 1e-12);
  }
}

}  // namespace tessera
