#include "framework/nn/joined_features.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

#include "tensor/ops/embedding/embedding.h"

namespace tessera {
namespace {

// Items that have this modality and, where counts are given, training interactions.
std::vector<std::int32_t> learnt_rows(const std::vector<std::uint8_t>& present, std::int64_t items,
                                      const std::vector<std::int64_t>& counts) {
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < items; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if ((present.empty() || present[at]) && (counts.empty() || counts[at] > 0))
      rows.push_back(static_cast<std::int32_t>(i));
  }
  return rows;
}

}  // namespace

const ItemFeatures& JoinedFeatures::feature(const std::map<std::string, ItemFeatures>& features,
                                            const std::string& modality) const {
  const auto found = features.find(modality);
  if (found != features.end()) return found->second;
  std::string known;
  for (const auto& [name, values] : features) known += (known.empty() ? "" : ", ") + name;
  throw Error(str(who_, ": no features of modality '", modality, "'; there are: ", known.empty() ? "none" : known,
                  "; add a featurizer for it or change tokenizer.modalities"));
}

void JoinedFeatures::fit(const Dataset& data, std::vector<std::string> modalities,
                         const FeatureTransformOptions& options, const std::vector<std::int64_t>& counts) {
  parts_.clear();
  if (modalities.empty())
    for (const auto& [name, values] : data.features) modalities.push_back(name);
  check(!modalities.empty(), who_, ": the items have no features; add a featurizer");
  for (const std::string& name : modalities) {
    const ItemFeatures& values = feature(data.features, name);
    const auto rows = learnt_rows(values.present, values.values.rows(), counts);
    check(!rows.empty(), who_, ": no item has the modality '", name, "'");
    Part part{name, {}, 0, 1.0f};
    part.transform.fit(gather_rows(values.values, rows), options);
    parts_.push_back(std::move(part));
  }
  place_parts();
}

void JoinedFeatures::place_parts() {
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

JoinedFeatures::Rows JoinedFeatures::join(const std::map<std::string, ItemFeatures>& features) const {
  check(!parts_.empty(), who_, ": not fitted yet");
  const std::int64_t items = feature(features, parts_[0].modality).values.rows();
  Rows out{Tensor::zeros({items, width_}), std::vector<std::uint8_t>(static_cast<std::size_t>(items), 0)};
  for (const Part& part : parts_) {
    const ItemFeatures& from = feature(features, part.modality);
    check(from.values.rows() == items, who_, ": ", from.values.rows(), " rows of modality '", part.modality,
          "', expected ", items);
    check(from.width() == part.transform.input(), who_, ": modality '", part.modality, "' has width ", from.width(),
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

Tensor JoinedFeatures::rows_to_learn(const Rows& all, const std::vector<std::int64_t>& counts) {
  return gather_rows(all.x, learnt_rows(all.present, all.x.rows(), counts));
}

Tensor JoinedFeatures::columns_of(const Tensor& x, const std::string& modality) const {
  const auto part = std::find_if(parts_.begin(), parts_.end(), [&](const Part& p) { return p.modality == modality; });
  if (part == parts_.end()) return {};
  const std::int64_t width = part->transform.output();
  if (width == x.columns()) return x;
  Tensor out({x.rows(), width});
  for (std::int64_t i = 0; i < x.rows(); ++i)
    std::copy_n(x.data<float>() + i * x.columns() + part->begin, width, out.data<float>() + i * width);
  return out;
}

std::vector<std::string> JoinedFeatures::modalities() const {
  std::vector<std::string> names;
  for (const Part& part : parts_) names.push_back(part.modality);
  return names;
}

void JoinedFeatures::visit(StateVisitor& state) {
  std::string names;
  for (const Part& part : parts_) names += (names.empty() ? "" : "\n") + part.modality;
  state.text("modalities", names);
  if (state.loading()) {
    parts_.clear();
    std::istringstream lines(names);
    for (std::string name; std::getline(lines, name);) parts_.push_back({name, {}, 0, 1.0f});
  }
  for (Part& part : parts_) part.transform.visit(state, "input/" + part.modality + "/");
  if (state.loading()) place_parts();
}

}  // namespace tessera
