#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/nn/feature_transform.h"
#include "tensor/core/export.h"

namespace tessera {

// The vectors of several modalities as one vector an item, each modality transformed by itself and weighted so that it
// has the same share of the variance. Items without a modality have zeros there. Fitted once, then constant.
class TESSERA_API JoinedFeatures {
 public:
  // Vectors as they are joined; present: at least one modality is.
  struct Rows {
    Tensor x;  // (I, width())
    std::vector<std::uint8_t> present;
  };

  explicit JoinedFeatures(std::string who) : who_(std::move(who)) {}  // who: the component, for messages
  // modalities: empty for all of the data. counts: the items' training interactions, to fit on those that have some;
  // empty: on all. Throws Error where a modality is not there.
  void fit(const Dataset& data, std::vector<std::string> modalities, const FeatureTransformOptions& options,
           const std::vector<std::int64_t>& counts);
  Rows join(const std::map<std::string, ItemFeatures>& features) const;
  // Rows of items that are present, and (counts not empty) have training interactions.
  static Tensor rows_to_learn(const Rows& all, const std::vector<std::int64_t>& counts);
  Tensor columns_of(const Tensor& x, const std::string& modality) const;  // empty: not one of them

  std::int64_t width() const { return width_; }
  std::string only_modality() const { return parts_.size() == 1 ? parts_[0].modality : ""; }  // "": several
  std::vector<std::string> modalities() const;
  void visit(StateVisitor& state);

 private:
  struct Part {
    std::string modality;
    FeatureTransform transform;
    std::int64_t begin = 0;  // first column in the joined vector
    float weight = 1.0f;     // gives each modality the same share of the joined vector's variance
  };
  const ItemFeatures& feature(const std::map<std::string, ItemFeatures>& features, const std::string& modality) const;
  void place_parts();

  std::string who_;
  std::vector<Part> parts_;
  std::int64_t width_ = 0;
};

}  // namespace tessera
