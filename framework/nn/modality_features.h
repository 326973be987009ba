#pragma once

#include <memory>
#include <string>
#include <vector>

#include "framework/config/config.h"
#include "framework/data/dataset.h"
#include "framework/nn/module.h"

namespace tessera {

// One modality's vectors as a model of the graph reads them: the rows of items without it are the mean of the rows that
// are there. Learnt (parameter "features", which begins at them) or constant. Add it to a model as a module of the
// modality's name.
class TESSERA_API ModalityFeatures : public Module {
 public:
  ModalityFeatures(const ItemFeatures& features, bool train);
  ~ModalityFeatures() override;
  const std::string& name() const { return name_; }
  std::int64_t width() const { return filled_.columns(); }
  Tensor operator()() { return learnt_ ? (*learnt_)() : filled_; }  // (I, D)
  const Tensor& filled() const { return filled_; }                  // (I, D), never recorded

 private:
  std::string name_;
  Tensor filled_;
  Parameter* learnt_ = nullptr;
};

// The modalities that a model's option `modalities` names, in its order, or all that the data has, by name. Throws
// ConfigError, at that key of the section, where one is missing or there is none, and DataError where one has no item.
TESSERA_API std::vector<std::unique_ptr<ModalityFeatures>> modality_features(const Dataset& data,
                                                                             const std::vector<std::string>& chosen,
                                                                             bool train, const Section& section);

}  // namespace tessera
