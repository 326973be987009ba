#pragma once

#include "framework/data/dataset.h"
#include "framework/roles/context.h"

namespace tessera {

// Raw text, images or files -> vectors of one modality. Fitted once on a catalogue (no interactions are seen), then
// frozen.
class TESSERA_API Featurizer {
 public:
  static constexpr const char* kRole = "featurizer";
  virtual ~Featurizer();
  virtual std::string modality() const = 0;
  virtual void fit(const Dataset& data, FitContext& context) = 0;
  virtual ItemFeatures features(const Dataset& data) const = 0;  // of the catalogue: (I, D)
  virtual ItemFeatures encode(
      const Items& items) const = 0;  // of items never seen; throws Error where it reads a file by row
  virtual void visit(StateVisitor& state) = 0;
};

}  // namespace tessera
