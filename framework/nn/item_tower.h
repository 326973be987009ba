#pragma once

#include "framework/nn/module.h"
#include "framework/roles/item_vectors.h"

namespace tessera {

// A head's own item vectors: the source that models may read too, with learnt parameters.
class TESSERA_API ItemTower : public Module, public ItemVectorSource {
 public:
  ~ItemTower() override;
  // The vectors of all items are needed in every step: worth making once, and taking rows for the rest.
  virtual void expect_all() {}
};

}  // namespace tessera
