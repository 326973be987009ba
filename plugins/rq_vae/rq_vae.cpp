#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>

#include "framework/nn/feature_transform.h"
#include "framework/nn/quantized_autoencoder.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"
#include "plugins/rq_vae/options.h"
#include "tensor/autograd/tape.h"
#include "tensor/ops/embedding/embedding.h"

// Residual quantisation of item vectors: an autoencoder with a residual quantiser in its middle (RQ-VAE), or, without a
// network, residual k-means. Several modalities are joined into one vector.
namespace tessera {
namespace {

struct Part {
  std::string modality;
  FeatureTransform transform;
  std::int64_t begin = 0;  // first column in the joined vector
  float weight = 1.0f;     // gives each modality the same share of the joined vector's variance
};

// Vectors of items as the network sees them; present: at least one modality is.
struct Joined {
  Tensor x;
  std::vector<std::uint8_t> present;
};

class RqVae final : public Tokenizer {
 public:
  explicit RqVae(RqVaeOptions options) : options_(std::move(options)) {}

  std::vector<std::string> modalities() const override { return options_.modalities; }

  void fit(const Dataset& data, FitContext& context) override {
    const auto learnt = options_.items == "trained" ? train_counts(data) : std::vector<std::int64_t>();
    fit_parts(data, learnt);
    const Tensor x = rows_to_learn(join(data.features), learnt);
    check(x.rows() >= options_.codes, "rq_vae: ", x.rows(), " items with features for ", options_.codes,
          " codes a level; use fewer codes");
    network_ = std::make_unique<QuantizedAutoencoder>(network_options(options_, width_));
    AutoencoderTrainer(*network_, training_options(options_), context.seed).fit(x, context);
  }

  ItemTokens tokens(const Dataset& data) const override {
    ItemTokens tokens;
    const std::string modality = parts_.size() == 1 ? parts_[0].modality : "";
    for (int l = 0; l < options_.levels; ++l)
      tokens.levels.push_back({str(modality.empty() ? "shared" : modality, "/", l), options_.codes, modality});
    tokens.codes = encode(data.features);
    return tokens;
  }

  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>& features) const override {
    const Joined joined = join(features);
    auto codes = encode_rows(*network_, joined.x);
    for (std::size_t i = 0; i < joined.present.size(); ++i)
      if (!joined.present[i])
        std::fill_n(codes.begin() + static_cast<std::ptrdiff_t>(i) * options_.levels, options_.levels, -1);
    return codes;
  }

  Tensor reconstruct(std::span<const std::int32_t> codes, int levels, const std::string& modality) const override {
    const Part* part = find(modality);
    if (!part || !network_) return {};
    const NoTape quiet;
    return columns_of(network_->decode(network_->quantizer().decode(codes, levels)), *part);
  }

  Tensor reconstruction_target(const Dataset& data, const std::string& modality) const override {
    const Part* part = find(modality);
    return part ? columns_of(join(data.features).x, *part) : Tensor();
  }

  Tensor last_level_distances(const Dataset& data) const override {
    const NoTape quiet;
    const Tensor x = join(data.features).x;
    Tensor distances({x.rows(), options_.codes});
    for (std::int64_t begin = 0; begin < x.rows(); begin += kBlock) {
      const std::int64_t end = std::min(x.rows(), begin + kBlock);
      distances.row_range(begin, end)
          .copy_from(network_->quantizer().last_level_distances(network_->encode(x.row_range(begin, end))));
    }
    return distances;
  }

  void visit(StateVisitor& state) override {
    std::string names;
    for (const Part& part : parts_) names += (names.empty() ? "" : "\n") + part.modality;
    state.text("modalities", names);
    if (state.loading()) {
      parts_.clear();
      std::istringstream lines(names);
      for (std::string name; std::getline(lines, name);) parts_.push_back({name, {}, 0, 1.0f});
    }
    for (Part& part : parts_) part.transform.visit(state, "input/" + part.modality + "/");
    if (state.loading()) {
      place_parts();
      network_ = std::make_unique<QuantizedAutoencoder>(network_options(options_, width_));
    }
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

  const Part* find(const std::string& modality) const {
    for (const Part& part : parts_)
      if (part.modality == modality) return &part;
    return nullptr;
  }

  static const ItemFeatures& feature(const std::map<std::string, ItemFeatures>& features, const std::string& modality) {
    const auto found = features.find(modality);
    if (found != features.end()) return found->second;
    std::string known;
    for (const auto& [name, values] : features) known += (known.empty() ? "" : ", ") + name;
    throw Error(str("rq_vae: no features of modality '", modality, "'; there are: ", known.empty() ? "none" : known,
                    "; add a featurizer for it or change tokenizer.modalities"));
  }

  void fit_parts(const Dataset& data, const std::vector<std::int64_t>& learnt) {
    parts_.clear();
    std::vector<std::string> names = options_.modalities;
    if (names.empty())
      for (const auto& [name, values] : data.features) names.push_back(name);
    check(!names.empty(), "rq_vae: the items have no features; add a featurizer");
    for (const std::string& name : names) {
      const ItemFeatures& values = feature(data.features, name);
      std::vector<std::int32_t> rows;
      for (std::size_t i = 0; i < values.present.size(); ++i)
        if (values.present[i] && (learnt.empty() || learnt[i] > 0)) rows.push_back(static_cast<std::int32_t>(i));
      check(!rows.empty(), "rq_vae: no item has the modality '", name, "'");
      Part part{name, {}, 0, 1.0f};
      part.transform.fit(gather_rows(values.values, rows), {options_.normalize, options_.components, options_.whiten});
      parts_.push_back(std::move(part));
    }
    place_parts();
  }

  void place_parts() {
    width_ = 0;
    for (Part& part : parts_) {
      part.begin = width_;
      width_ += part.transform.output();
    }
    for (Part& part : parts_)
      part.weight =
          parts_.size() == 1
              ? 1.0f
              : std::sqrt(static_cast<float>(width_) /
                          static_cast<float>(part.transform.output() * static_cast<std::int64_t>(parts_.size())));
  }

  Joined join(const std::map<std::string, ItemFeatures>& features) const {
    check(!parts_.empty(), "rq_vae: not fitted yet");
    const std::int64_t items = feature(features, parts_[0].modality).values.rows();
    Joined out{Tensor::zeros({items, width_}), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 0)};
    for (const Part& part : parts_) {
      const ItemFeatures& from = feature(features, part.modality);
      check(from.values.rows() == items, "rq_vae: ", from.values.rows(), " rows of modality '", part.modality,
            "', expected ", items);
      check(from.width() == part.transform.input(), "rq_vae: modality '", part.modality, "' has width ", from.width(),
            ", but it was fitted on width ", part.transform.input());
      const Tensor values = part.transform.apply(from.values);
      const std::int64_t width = values.columns();
      for (std::int64_t i = 0; i < items; ++i) {
        if (!from.present.empty() && !from.present[static_cast<std::size_t>(i)]) continue;
        out.present[static_cast<std::size_t>(i)] = 1;
        const float* row = values.data<float>() + i * width;
        float* to = out.x.data<float>() + i * width_ + part.begin;
        for (std::int64_t j = 0; j < width; ++j) to[j] = part.weight * row[j];
      }
    }
    return out;
  }

  // learnt: training counts of the items, or empty for all items.
  static Tensor rows_to_learn(const Joined& all, const std::vector<std::int64_t>& learnt) {
    std::vector<std::int32_t> rows;
    for (std::size_t i = 0; i < all.present.size(); ++i)
      if (all.present[i] && (learnt.empty() || learnt[i] > 0)) rows.push_back(static_cast<std::int32_t>(i));
    return gather_rows(all.x, rows);
  }

  static Tensor columns_of(const Tensor& x, const Part& part) {
    const std::int64_t width = part.transform.output();
    if (width == x.columns()) return x;
    Tensor out({x.rows(), width});
    for (std::int64_t i = 0; i < x.rows(); ++i)
      std::copy_n(x.data<float>() + i * x.columns() + part.begin, width, out.data<float>() + i * width);
    return out;
  }

  RqVaeOptions options_;
  std::vector<Part> parts_;
  std::int64_t width_ = 0;  // of the joined vector
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
