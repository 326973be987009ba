#include "framework/nn/modality_features.h"

#include <algorithm>

namespace tessera {
namespace {

Tensor filled(const ItemFeatures& features) {
  Tensor x = features.values.to(DType::f32).clone();
  const auto width = static_cast<std::size_t>(x.columns());
  const auto here = std::count(features.present.begin(), features.present.end(), std::uint8_t{1});
  if (here == 0) throw DataError(str("features: no item has the modality '", features.modality, "'"));
  if (here == static_cast<std::ptrdiff_t>(features.present.size())) return x;
  std::vector<double> mean(width, 0.0);
  for (std::size_t i = 0; i < features.present.size(); ++i)
    if (features.present[i] != 0)
      for (std::size_t d = 0; d < width; ++d) mean[d] += static_cast<double>(x.values<float>()[i * width + d]);
  for (std::size_t i = 0; i < features.present.size(); ++i)
    if (features.present[i] == 0)
      for (std::size_t d = 0; d < width; ++d)
        x.values<float>()[i * width + d] = static_cast<float>(mean[d] / static_cast<double>(here));
  return x;
}

std::string listed(const Dataset& data) {
  std::string names;
  for (const auto& [name, features] : data.features) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace

ModalityFeatures::ModalityFeatures(const ItemFeatures& features, bool train)
    : name_(features.modality), filled_(tessera::filled(features)) {
  if (train)
    learnt_ = &add_parameter(
        "features", filled_.shape(),
        [this](Tensor& x, std::uint64_t, std::uint64_t) { x.copy_from(filled_.to(x.dtype())); }, false);
}

ModalityFeatures::~ModalityFeatures() = default;

std::vector<std::unique_ptr<ModalityFeatures>> modality_features(const Dataset& data,
                                                                 const std::vector<std::string>& chosen, bool train,
                                                                 const Section& section) {
  if (data.features.empty())
    section.fail(section.has("modalities") ? "modalities" : "",
                 str("the model reads features of items, but '", data.name,
                     "' has none; add a [[featurizer]] (npy, text_hash, image) or take a model of interactions alone"));
  std::vector<std::string> names = chosen;
  if (names.empty())
    for (const auto& [name, features] : data.features) names.push_back(name);
  std::vector<std::unique_ptr<ModalityFeatures>> out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = data.features.find(names[i]);
    if (found == data.features.end())
      section.fail("modalities", str("modalities: '", names[i], "' is not among the features of '", data.name,
                                     "', which are ", listed(data), "; name one of them, or add a [[featurizer]]"));
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<std::ptrdiff_t>(i))
      section.fail("modalities", str("modalities: '", names[i], "' stands twice; remove one"));
    out.push_back(std::make_unique<ModalityFeatures>(found->second, train));
  }
  return out;
}

}  // namespace tessera
