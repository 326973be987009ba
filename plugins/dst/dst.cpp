#include <algorithm>
#include <memory>
#include <set>
#include <sstream>
#include <unordered_map>

#include "framework/nn/feature_transform.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"
#include "plugins/dst/figures.h"
#include "plugins/dst/network.h"
#include "plugins/dst/trainer.h"
#include "tensor/ops/embedding/embedding.h"

// Hi-SAM's disentangled tokenizer: codes of what an item's modalities share, then codes of what each holds alone.
namespace tessera {
namespace {

constexpr std::size_t kFewestModalities = 2, kMostModalities = 4;

class Dst final : public Tokenizer {
 public:
  explicit Dst(DstOptions options) : options_(std::move(options)) {}

  std::vector<std::string> modalities() const override { return options_.modalities; }

  void fit(const Dataset& data, FitContext& context) override {
    names_ = options_.modalities;
    if (names_.empty())
      for (const auto& [name, values] : data.features) names_.push_back(name);
    check(names_.size() >= kFewestModalities && names_.size() <= kMostModalities, "dst: ", names_.size(),
          names_.size() == 1 ? " modality" : " modalities", " (", known(data.features), "), expected ",
          kFewestModalities, " to ", kMostModalities,
          names_.size() > kMostModalities
              ? "; name those to use in tokenizer.modalities"
              : "; add a [[featurizer]] for another, or take rq_vae, which codes a single one");
    const auto learnt = options_.items == "trained" ? train_counts(data) : std::vector<std::int64_t>();
    transforms_.clear();
    for (const std::string& name : names_) transforms_.push_back(fit_transform(feature(data.features, name), learnt));
    DstInput input = transformed(data.features);
    input.group = same_vectors(data.features);
    const auto items = items_to_learn(input, learnt);
    make_network();
    DstTrainer(*network_, options_, context.seed).fit(input, items, context);
  }

  ItemTokens tokens(const Dataset& data) const override {
    ItemTokens tokens;
    for (int l = 0; l < options_.shared_levels; ++l)
      tokens.levels.push_back({str("shared/", l), options_.shared_codes, ""});
    for (const std::string& name : names_)
      for (int l = 0; l < options_.modality_levels; ++l)
        tokens.levels.push_back({str(name, "/", l), options_.modality_codes, name});
    tokens.codes = encode(data.features);
    return tokens;
  }

  std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>& features) const override {
    const DstInput input = transformed(features);
    std::vector<std::int32_t> codes;
    in_blocks(input, [&](const DstBatch& batch) {
      const auto part = network_->encode(batch);
      codes.insert(codes.end(), part.begin(), part.end());
    });
    return codes;
  }

  Tensor reconstruct(std::span<const std::int32_t> codes, int levels, const std::string& modality) const override {
    const auto found = std::find(names_.begin(), names_.end(), modality);
    if (!network_ || found == names_.end()) return {};
    return network_->reconstruct(codes, levels, static_cast<std::size_t>(found - names_.begin()));
  }

  Tensor reconstruction_target(const Dataset& data, const std::string& modality) const override {
    const auto found = std::find(names_.begin(), names_.end(), modality);
    if (found == names_.end()) return {};
    return transforms_[static_cast<std::size_t>(found - names_.begin())].apply(feature(data.features, modality).values);
  }

  // To the last modality's last codebook; rows of items without it are 0, and no one asks for them: they have no code.
  Tensor last_level_distances(const Dataset& data) const override {
    const DstInput input = transformed(data.features);
    const std::size_t last = names_.size() - 1;
    Tensor out = Tensor::zeros({input.items(), options_.modality_codes});
    std::int64_t begin = 0;
    in_blocks(input, [&](const DstBatch& batch) {
      const auto& rows = batch.row[last];
      if (!rows.empty()) {
        const auto parts = network_->forward(batch, true);
        const Tensor distances = network_->branch(last).quantizer().last_level_distances(parts.own[last]);
        for (std::size_t i = 0; i < rows.size(); ++i)
          std::copy_n(distances.data<float>() + static_cast<std::int64_t>(i) * out.columns(), out.columns(),
                      out.data<float>() + (begin + rows[i]) * out.columns());
      }
      begin += batch.rows;
    });
    return out;
  }

  std::vector<HealthFigure> health(const Dataset& data) const override {
    for (const std::string& name : names_)
      if (!data.features.contains(name)) return {};
    const DstInput input = transformed(data.features);
    return disentanglement(*network_, names_, input, items_with_any(input));
  }

  void visit(StateVisitor& state) override {
    std::string names;
    for (const std::string& name : names_) names += (names.empty() ? "" : "\n") + name;
    state.text("modalities", names);
    if (state.loading()) {
      names_.clear();
      std::istringstream lines(names);
      for (std::string name; std::getline(lines, name);) names_.push_back(name);
      transforms_.assign(names_.size(), {});
    }
    for (std::size_t m = 0; m < names_.size(); ++m) transforms_[m].visit(state, "input/" + names_[m] + "/");
    if (state.loading()) make_network();
    check(network_ != nullptr, "dst: not fitted yet, there is nothing to save");
    for (auto& [name, parameter] : network_->parameters()) {
      const Shape shape = parameter->value.shape();
      state.tensor(name, parameter->value);
      check(parameter->value.shape() == shape, "dst: tensor '", name, "' is ", parameter->value.shape().text(),
            ", expected ", shape.text(), " from the options");
    }
  }

 private:
  static constexpr std::int64_t kBlock = 4096;

  static std::string known(const std::map<std::string, ItemFeatures>& features) {
    std::string names;
    for (const auto& [name, values] : features) names += (names.empty() ? "" : ", ") + name;
    return names.empty() ? "none" : names;
  }

  static const ItemFeatures& feature(const std::map<std::string, ItemFeatures>& features, const std::string& modality) {
    const auto found = features.find(modality);
    if (found != features.end()) return found->second;
    throw Error(str("dst: no features of modality '", modality, "'; there are: ", known(features),
                    "; add a featurizer for it or change tokenizer.modalities"));
  }

  static bool present(const ItemFeatures& values, std::size_t item) {
    return values.present.empty() || values.present[item] != 0;
  }

  FeatureTransform fit_transform(const ItemFeatures& values, const std::vector<std::int64_t>& learnt) const {
    std::vector<std::int32_t> rows;
    for (std::int64_t i = 0; i < values.values.rows(); ++i)
      if (present(values, static_cast<std::size_t>(i)) && (learnt.empty() || learnt[static_cast<std::size_t>(i)] > 0))
        rows.push_back(static_cast<std::int32_t>(i));
    check(!rows.empty(), "dst: no item has the modality '", values.modality, "'");
    const Tensor x = gather_rows(values.values, rows);
    const float* first = x.data<float>();
    bool varies = false;
    for (std::int64_t i = 1; i < x.rows() && !varies; ++i)
      varies = !std::equal(first, first + x.columns(), first + i * x.columns());
    check(varies, "dst: all ", rows.size(), " vectors of modality '", values.modality,
          "' are the same, there is nothing to code; leave it out of tokenizer.modalities");
    check(x.rows() >= options_.modality_codes, "dst: ", x.rows(), " items with the modality '", values.modality,
          "' for ", options_.modality_codes, " codes; use fewer modality_codes");
    FeatureTransform transform;
    transform.fit(x, {options_.normalize, options_.components, options_.whiten});
    return transform;
  }

  DstInput transformed(const std::map<std::string, ItemFeatures>& features) const {
    check(!transforms_.empty(), "dst: not fitted yet");
    DstInput out;
    const std::int64_t items = feature(features, names_[0]).values.rows();
    for (std::size_t m = 0; m < names_.size(); ++m) {
      const ItemFeatures& from = feature(features, names_[m]);
      check(from.values.rows() == items, "dst: ", from.values.rows(), " rows of modality '", names_[m], "', expected ",
            items);
      check(from.width() == transforms_[m].input(), "dst: modality '", names_[m], "' has width ", from.width(),
            ", but it was fitted on width ", transforms_[m].input());
      out.x.push_back(transforms_[m].apply(from.values));
      std::vector<std::uint8_t> has;
      for (std::int64_t i = 0; i < items; ++i) has.push_back(present(from, static_cast<std::size_t>(i)) ? 1 : 0);
      out.present.push_back(std::move(has));
    }
    return out;
  }

  // Items with the same vector in a modality get the same number there.
  std::vector<std::vector<std::int32_t>> same_vectors(const std::map<std::string, ItemFeatures>& features) const {
    std::vector<std::vector<std::int32_t>> out;
    for (const std::string& name : names_) {
      const ItemFeatures& from = feature(features, name);
      const std::size_t bytes = static_cast<std::size_t>(from.width()) * sizeof(float);
      std::unordered_map<std::string_view, std::int32_t> seen;
      std::vector<std::int32_t> group;
      for (std::int64_t i = 0; i < from.values.rows(); ++i) {
        const auto* row = reinterpret_cast<const char*>(from.values.data<float>() + i * from.width());
        group.push_back(
            seen.try_emplace(std::string_view(row, bytes), static_cast<std::int32_t>(seen.size())).first->second);
      }
      out.push_back(std::move(group));
    }
    return out;
  }

  static std::vector<std::int32_t> items_with_any(const DstInput& input) {
    std::vector<std::int32_t> items;
    for (std::int64_t i = 0; i < input.items(); ++i)
      for (std::size_t m = 0; m < input.x.size(); ++m)
        if (input.has(m, i)) {
          items.push_back(static_cast<std::int32_t>(i));
          break;
        }
    return items;
  }

  std::vector<std::int32_t> items_to_learn(const DstInput& input, const std::vector<std::int64_t>& learnt) const {
    std::vector<std::int32_t> items;
    std::int64_t complete = 0;
    for (const std::int32_t i : items_with_any(input)) {
      if (!learnt.empty() && learnt[static_cast<std::size_t>(i)] == 0) continue;
      items.push_back(i);
      std::int64_t count = 0;
      for (std::size_t m = 0; m < input.x.size(); ++m) count += input.has(m, i) ? 1 : 0;
      complete += count >= (options_.align == "gram" ? static_cast<std::int64_t>(input.x.size()) : 2) ? 1 : 0;
    }
    check(static_cast<std::int64_t>(items.size()) >= options_.shared_codes, "dst: ", items.size(),
          " items with features for ", options_.shared_codes, " shared codes; use fewer shared_codes");
    check(complete >= 2 || options_.align == "none", "dst: ", complete, " items have ",
          options_.align == "gram" ? "every modality" : "two modalities", ", too few to align; set align = \"none\"");
    return items;
  }

  void make_network() {
    std::vector<std::int64_t> inputs;
    for (const FeatureTransform& transform : transforms_) inputs.push_back(transform.output());
    network_ = std::make_unique<DstNetwork>(options_, inputs);
  }

  template <class Visit>
  void in_blocks(const DstInput& input, Visit&& visit) const {
    std::vector<std::int32_t> items;
    for (std::int64_t begin = 0; begin < input.items(); begin += kBlock) {
      items.clear();
      for (std::int64_t i = begin; i < std::min(input.items(), begin + kBlock); ++i)
        items.push_back(static_cast<std::int32_t>(i));
      visit(pick(input, items));
    }
  }

  DstOptions options_;
  std::vector<std::string> names_;
  std::vector<FeatureTransform> transforms_;  // one a modality
  std::unique_ptr<DstNetwork> network_;
};

std::unique_ptr<Tokenizer> make(const DstOptions& options, const Section& section) {
  if (options.normalize != "pca" && (section.has("components") || section.has("whiten")))
    section.fail(section.has("components") ? "components" : "whiten", "only used with normalize = 'pca'");
  if (options.balance != 0.0 && options.balance < 1.0)
    section.fail("balance", str("balance is ", options.balance, ", expected 0 or 1 or more"));
  const std::set<std::string> names(options.modalities.begin(), options.modalities.end());
  if (names.size() != options.modalities.size()) section.fail("modalities", "a modality is named twice");
  if (names.size() == 1) section.fail("modalities", "one modality, expected 2 to 4; rq_vae codes a single one");
  if (names.size() > kMostModalities)
    section.fail("modalities", str(names.size(), " modalities, expected 2 to ", kMostModalities));
  return std::make_unique<Dst>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "codes of what modalities share and of what each holds alone", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, tessera::DstOptions>(
      "dst", "Hi-SAM's disentangled tokenizer: shared codes, then codes of each modality", tessera::make);
});
