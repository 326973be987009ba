#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <sstream>

#include "framework/nn/feature_transform.h"
#include "framework/nn/hashed_codes.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/tokenizer.h"
#include "plugins/pq/columns.h"
#include "plugins/pq/options.h"
#include "tensor/ops/embedding/embedding.h"

// Product quantisation of item vectors, each modality by itself: MOTOR's tokenizer.
namespace tessera {
namespace {

using Features = std::map<std::string, ItemFeatures>;

struct Part {
  std::string modality;
  FeatureTransform transform;
  ProductQuantizer quantizer;
  Tensor mean;  // (D) of the learnt items' raw vectors, for those that lack the modality
};

bool is_present(const ItemFeatures& features, std::int64_t item) {
  return features.present.empty() || features.present[static_cast<std::size_t>(item)] != 0;
}

Tensor mean_of(const Tensor& x) {
  std::vector<double> sum(static_cast<std::size_t>(x.columns()), 0.0);
  const float* row = x.data<float>();
  for (std::int64_t i = 0, rows = x.rows(); i < rows; ++i)
    for (double& to : sum) to += *row++;
  Tensor mean({x.columns()});
  for (std::size_t j = 0; j < sum.size(); ++j)
    mean.data<float>()[j] = static_cast<float>(sum[j] / static_cast<double>(x.rows()));
  return mean;
}

class Pq final : public Tokenizer {
 public:
  explicit Pq(PqOptions options) : options_(std::move(options)) {}

  std::vector<std::string> modalities() const override { return options_.modalities; }

  void fit(const Dataset& data, FitContext& context) override {
    std::vector<std::string> names = options_.modalities;
    if (names.empty())
      for (const auto& [name, values] : data.features) names.push_back(name);
    check(!names.empty(), "pq: the items have no features; add a featurizer");
    refuse_bare_items(data, names);
    parts_.clear();
    seed_ = context.seed;
    items_ = data.item_count();
    const auto counts = options_.items == "trained" ? train_counts(data) : std::vector<std::int64_t>();
    for (const std::string& name : names) parts_.push_back(fit_part(data, name, counts, context));
  }

  ItemTokens tokens(const Dataset& data) const override {
    check(!parts_.empty(), "pq: not fitted yet");
    check(items_ == data.item_count(), "pq: fitted on ", items_, " items, but the dataset has ", data.item_count(),
          "; fit it on this catalogue");
    ItemTokens tokens;
    for (const Part& part : parts_)
      for (int m = 0; m < options_.subspaces; ++m)
        tokens.levels.push_back({str(part.modality, "/", m), options_.codes, part.modality});
    if (options_.item_token) tokens.levels.push_back({"item", static_cast<int>(items_), ""});
    tokens.codes = encode(data.features);
    const std::size_t levels = tokens.levels.size();
    if (options_.item_token)
      for (std::size_t i = 0; i < static_cast<std::size_t>(items_); ++i)
        tokens.codes[(i + 1) * levels - 1] = static_cast<std::int32_t>(i);
    if (!options_.random_codes) tokens.token_vectors = token_vectors();
    return tokens;
  }

  // Items that are not of the catalogue have no token of their own (-1).
  std::vector<std::int32_t> encode(const Features& features) const override {
    check(!parts_.empty(), "pq: not fitted yet");
    const std::int64_t items = feature(features, parts_[0].modality).values.rows();
    const std::size_t each = static_cast<std::size_t>(options_.subspaces), levels = level_count();
    std::vector<std::int32_t> out(static_cast<std::size_t>(items) * levels, -1);
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      const ItemFeatures& from = feature(features, parts_[p].modality);
      check(from.values.rows() == items, "pq: ", from.values.rows(), " rows of modality '", parts_[p].modality,
            "', expected ", items);
      const auto codes = codes_of(parts_[p], from);
      for (std::size_t i = 0; i < static_cast<std::size_t>(items); ++i)
        std::copy_n(codes.begin() + static_cast<std::ptrdiff_t>(i * each), each,
                    out.begin() + static_cast<std::ptrdiff_t>(i * levels + p * each));
    }
    return out;
  }

  Tensor reconstruct(std::span<const std::int32_t> codes, int levels, const std::string& modality) const override {
    const int begin = first_level(modality);
    if (begin < 0 || options_.random_codes) return {};
    const std::size_t all = level_count(), each = static_cast<std::size_t>(options_.subspaces);
    std::vector<std::int32_t> own;
    for (std::size_t at = static_cast<std::size_t>(begin); at < codes.size(); at += all)
      own.insert(own.end(), codes.begin() + static_cast<std::ptrdiff_t>(at),
                 codes.begin() + static_cast<std::ptrdiff_t>(at + each));
    const Part& part = parts_[static_cast<std::size_t>(begin / options_.subspaces)];
    return part.quantizer.decode(own, std::clamp(levels - begin, 0, options_.subspaces));
  }

  Tensor reconstruction_target(const Dataset& data, const std::string& modality) const override {
    const int begin = first_level(modality);
    if (begin < 0) return {};
    return parts_[static_cast<std::size_t>(begin / options_.subspaces)].transform.apply(
        feature(data.features, modality).values);
  }

  std::vector<HealthFigure> health(const Dataset& data) const override {
    std::vector<HealthFigure> figures;
    if (options_.random_codes) return figures;
    for (const Part& part : parts_) {
      const auto found = data.features.find(part.modality);
      if (found == data.features.end()) continue;
      const Tensor x = part.transform.apply(present_rows(found->second));
      const Tensor mean = mean_of(x);
      double variance = 0.0;
      for (std::int64_t i = 0, n = x.numel(), width = x.columns(); i < n; ++i)
        variance += std::pow(x.data<float>()[i] - mean.data<float>()[i % width], 2);
      variance /= static_cast<double>(x.rows());
      if (!(variance > 0.0)) continue;
      const auto parts = part.quantizer.distortion(x, part.quantizer.encode(x));
      for (std::size_t m = 0; m < parts.size(); ++m)
        figures.push_back(
            {str(part.modality, ": distortion of part ", m, ", share of the variance"), parts[m] / variance});
      figures.push_back({str(part.modality, ": distortion, share of the variance"),
                         std::accumulate(parts.begin(), parts.end(), 0.0) / variance});
      if (options_.rotation != "none")
        figures.push_back({str(part.modality, ": distortion that the rotation saves, share of that without"),
                           1.0 - part.quantizer.error() / part.quantizer.plain_error()});
    }
    return figures;
  }

  void visit(StateVisitor& state) override {
    std::string facts = str(items_, " ", seed_), names;
    for (const Part& part : parts_) names += (names.empty() ? "" : "\n") + part.modality;
    state.text("facts", facts);
    state.text("modalities", names);
    if (state.loading()) {
      std::istringstream in(facts), lines(names);
      in >> items_ >> seed_;
      check(!in.fail(), "pq: 'facts' is damaged");
      parts_.clear();
      for (std::string name; std::getline(lines, name);) parts_.push_back({name, {}, {}, {}});
    }
    check(!parts_.empty(), "pq: not fitted yet, there is nothing to save");
    for (Part& part : parts_) {
      part.transform.visit(state, "input/" + part.modality + "/");
      part.quantizer.visit(state, "codes/" + part.modality + "/");
      state.tensor("mean/" + part.modality, part.mean);
      check(part.quantizer.subspaces() == options_.subspaces && part.quantizer.codes() == options_.codes,
            "pq: the saved codebooks are ", part.quantizer.subspaces(), " x ", part.quantizer.codes(),
            ", but the options say ", options_.subspaces, " x ", options_.codes);
    }
  }

 private:
  std::size_t level_count() const {
    return parts_.size() * static_cast<std::size_t>(options_.subspaces) + (options_.item_token ? 1 : 0);
  }

  int first_level(const std::string& modality) const {
    for (std::size_t p = 0; p < parts_.size(); ++p)
      if (parts_[p].modality == modality) return static_cast<int>(p) * options_.subspaces;
    return -1;
  }

  static const ItemFeatures& feature(const Features& features, const std::string& modality) {
    const auto found = features.find(modality);
    if (found != features.end()) return found->second;
    std::string known;
    for (const auto& [name, values] : features) known += (known.empty() ? "" : ", ") + name;
    throw Error(str("pq: no features of modality '", modality, "'; there are: ", known.empty() ? "none" : known,
                    "; add a featurizer for it or change tokenizer.modalities"));
  }

  static Tensor present_rows(const ItemFeatures& features) {
    std::vector<std::int32_t> rows;
    for (std::int64_t i = 0; i < features.values.rows(); ++i)
      if (is_present(features, i)) rows.push_back(static_cast<std::int32_t>(i));
    return gather_rows(features.values, rows);
  }

  // An item without any modality would have no token, and so no vector.
  void refuse_bare_items(const Dataset& data, const std::vector<std::string>& names) const {
    std::string list;
    for (const std::string& name : names) list += (list.empty() ? "" : ", ") + str("'", name, "'");
    std::int64_t bare = 0, first = -1;
    for (std::int64_t i = 0; i < data.item_count(); ++i) {
      if (std::any_of(names.begin(), names.end(),
                      [&](const std::string& name) { return is_present(feature(data.features, name), i); }))
        continue;
      if (bare++ == 0) first = i;
    }
    if (bare > 0 && options_.missing == "none" && !options_.item_token)
      throw Error(str("pq: item '", data.items.ids[static_cast<std::size_t>(first)], "' has none of the modalities ",
                      list, " (", bare, " of ", data.item_count(),
                      " items): it would have no tokens; give it one, or set missing = \"mean\" or item_token = true"));
  }

  Part fit_part(const Dataset& data, const std::string& name, const std::vector<std::int64_t>& counts,
                FitContext& context) const {
    const ItemFeatures& values = feature(data.features, name);
    std::vector<std::int32_t> rows;
    for (std::int64_t i = 0; i < values.values.rows(); ++i)
      if (is_present(values, i) && (counts.empty() || counts[static_cast<std::size_t>(i)] > 0))
        rows.push_back(static_cast<std::int32_t>(i));
    check(static_cast<std::int64_t>(rows.size()) >= options_.codes, "pq: ", rows.size(), " items with modality '", name,
          "' to learn from for ", options_.codes, " codes, expected at least one item a code; use fewer codes");
    Part part{name, {}, {}, {}};
    const Tensor raw = gather_rows(values.values, rows);
    for (const std::string& remark : remarks_on_columns(raw)) context.say(str("pq: modality '", name, "': ", remark));
    part.mean = mean_of(raw);
    part.transform.fit(raw, {options_.normalize, options_.components, options_.whiten});
    check(part.transform.output() % options_.subspaces == 0, "pq: modality '", name, "' has width ",
          part.transform.output(), ", which subspaces = ", options_.subspaces,
          " does not divide; values that do: ", possible_subspaces(part.transform.output()));
    const Tensor x = part.transform.apply(raw);
    const int flat = options_.rotation == "none" ? constant_part(x, options_.subspaces) : -1;
    check(flat < 0, "pq: part ", flat, " of modality '", name,
          "' is constant, there is nothing to quantise; use a rotation, normalize = \"pca\" or fewer subspaces");
    part.quantizer.fit(x, quantizer_options(options_), context, "pq/" + name);
    return part;
  }

  std::vector<std::int32_t> codes_of(const Part& part, const ItemFeatures& from) const {
    check(from.width() == part.transform.input(), "pq: modality '", part.modality, "' has width ", from.width(),
          ", but it was fitted on width ", part.transform.input());
    Tensor raw = from.values.detach();
    std::vector<std::int64_t> missing;
    for (std::int64_t i = 0; i < raw.rows(); ++i)
      if (!is_present(from, i)) missing.push_back(i);
    if (!missing.empty()) raw = raw.clone();
    for (const std::int64_t i : missing) raw.row_range(i, i + 1).copy_from(part.mean.reshape({1, raw.columns()}));
    auto codes = options_.random_codes
                     ? hashed_codes(raw, options_.subspaces, options_.codes, seed_, part.modality)
                     : part.quantizer.encode(part.transform.apply(raw));
    if (options_.missing == "none")
      for (const std::int64_t i : missing)
        std::fill_n(codes.begin() + static_cast<std::ptrdiff_t>(i) * options_.subspaces, options_.subspaces, -1);
    return codes;
  }

  // Each modality in columns of its own; an item's own token adds nothing at first.
  Tensor token_vectors() const {
    std::int64_t width = 0, begin = 0;
    for (const Part& part : parts_) width += part.quantizer.width();
    const std::int64_t each = static_cast<std::int64_t>(options_.subspaces) * options_.codes;
    Tensor out =
        Tensor::zeros({each * static_cast<std::int64_t>(parts_.size()) + (options_.item_token ? items_ : 0), width});
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      const Tensor own = parts_[p].quantizer.contributions();
      for (std::int64_t i = 0; i < each; ++i)
        std::copy_n(own.data<float>() + i * own.columns(), own.columns(),
                    out.data<float>() + (static_cast<std::int64_t>(p) * each + i) * width + begin);
      begin += own.columns();
    }
    return out;
  }

  PqOptions options_;
  std::vector<Part> parts_;
  std::int64_t items_ = 0;
  std::uint64_t seed_ = 1;
};

std::unique_ptr<Tokenizer> make(const PqOptions& options, const Section& section) {
  if (options.normalize != "pca" && (section.has("components") || section.has("whiten")))
    section.fail(section.has("components") ? "components" : "whiten", "only used with normalize = 'pca'");
  for (const char* key : {"turns", "turn_rounds"})
    if (options.rotation != "opq" && section.has(key)) section.fail(key, "only used with rotation = 'opq'");
  return std::make_unique<Pq>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "product quantisation of item vectors", [](tessera::Registry& registry) {
  registry.add<tessera::Tokenizer, tessera::PqOptions>("pq", "PQ and OPQ of each modality: MOTOR's tokenizer",
                                                       tessera::make);
});
