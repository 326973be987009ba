#include <algorithm>
#include <memory>

#include "framework/nn/joined_features.h"
#include "framework/nn/quantized_autoencoder.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"
#include "plugins/rq_vae/options.h"
#include "tensor/autograd/tape.h"

// Residual quantisation of item vectors: an autoencoder with a residual quantiser in its middle (RQ-VAE), or, without a
// network, residual k-means. Several modalities are joined into one vector.
namespace tessera {
namespace {

class RqVae final : public Tokenizer {
 public:
  explicit RqVae(RqVaeOptions options) : options_(std::move(options)) {}

  std::vector<std::string> modalities() const override { return options_.modalities; }

  void fit(const Dataset& data, FitContext& context) override {
    const auto learnt = options_.items == "trained" ? train_counts(data) : std::vector<std::int64_t>();
    features_.fit(data, options_.modalities, {options_.normalize, options_.components, options_.whiten}, learnt);
    const Tensor x = JoinedFeatures::rows_to_learn(features_.join(data.features), learnt);
    check(x.rows() >= options_.codes, "rq_vae: ", x.rows(), " items with features for ", options_.codes,
          " codes a level; use fewer codes");
    network_ = std::make_unique<QuantizedAutoencoder>(network_options(options_, features_.width()));
    AutoencoderTrainer(*network_, training_options(options_), context.seed).fit(x, context);
  }

  ItemTokens tokens(const Dataset& data) const override {
    ItemTokens tokens;
    const std::string modality = features_.only_modality();
    for (int l = 0; l < options_.levels; ++l)
      tokens.levels.push_back({str(modality.empty() ? "shared" : modality, "/", l), options_.codes, modality});
    tokens.codes = encode(data.features);
    return tokens;
  }

  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>& features) const override {
    const JoinedFeatures::Rows joined = features_.join(features);
    auto codes = encode_rows(*network_, joined.x);
    for (std::size_t i = 0; i < joined.present.size(); ++i)
      if (!joined.present[i])
        std::fill_n(codes.begin() + static_cast<std::ptrdiff_t>(i) * options_.levels, options_.levels, -1);
    return codes;
  }

  Tensor reconstruct(std::span<const std::int32_t> codes, int levels, const std::string& modality) const override {
    if (!network_) return {};
    const NoTape quiet;
    return features_.columns_of(network_->decode(network_->quantizer().decode(codes, levels)), modality);
  }

  Tensor reconstruction_target(const Dataset& data, const std::string& modality) const override {
    return features_.columns_of(features_.join(data.features).x, modality);
  }

  Tensor last_level_distances(const Dataset& data) const override {
    const NoTape quiet;
    const Tensor x = features_.join(data.features).x;
    Tensor distances({x.rows(), options_.codes});
    for (std::int64_t begin = 0; begin < x.rows(); begin += kBlock) {
      const std::int64_t end = std::min(x.rows(), begin + kBlock);
      distances.row_range(begin, end)
          .copy_from(network_->quantizer().last_level_distances(network_->encode(x.row_range(begin, end))));
    }
    return distances;
  }

  void visit(StateVisitor& state) override {
    features_.visit(state);
    if (state.loading())
      network_ = std::make_unique<QuantizedAutoencoder>(network_options(options_, features_.width()));
    check(network_ != nullptr, "rq_vae: not fitted yet, there is nothing to save");
    for (auto& [name, parameter] : network_->parameters()) {
      const Shape shape = parameter->value.shape();
      state.tensor(name, parameter->value);
      check(parameter->value.shape() == shape, "rq_vae: tensor '", name, "' is ", parameter->value.shape().text(),
            ", expected ", shape.text(), " from the options");
    }
  }

 private:
  static constexpr std::int64_t kBlock = 4096;

  RqVaeOptions options_;
  JoinedFeatures features_{"rq_vae"};
  std::unique_ptr<QuantizedAutoencoder> network_;
};

std::unique_ptr<Tokenizer> make(const RqVaeOptions& options, const Section& section) {
  if (options.normalize != "pca" && (section.has("components") || section.has("whiten")))
    section.fail(section.has("components") ? "components" : "whiten", "only used with normalize = 'pca'");
  if (options.balance != 0.0 && options.balance < 1.0)
    section.fail("balance", str("balance is ", options.balance, ", expected 0 or 1 or more"));
  return std::make_unique<RqVae>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "residual quantisation of item vectors", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, tessera::RqVaeOptions>("rq_vae", "RQ-VAE, or residual k-means without a network",
                                                          tessera::make);
});
