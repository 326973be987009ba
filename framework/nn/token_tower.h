#pragma once

#include <memory>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/nn/embedding.h"
#include "framework/nn/item_tower.h"

namespace tessera {

// An item's vector: the sum or the mean of the embeddings of its tokens. With one token an item, in item order, this is
// the plain table of items, and all() is the parameter itself: input and output are tied without a copy.
class TESSERA_API TokenTower final : public ItemTower {
 public:
  TokenTower(const Catalog& catalog, int width, bool mean, double deviation);
  ~TokenTower() override;
  int width() const override { return width_; }
  Tensor vectors(std::span<const std::int32_t> items) override;
  Tensor all() override;

 private:
  Tensor combine(const std::vector<std::int32_t>& tokens);  // (n, L) -> (n, D)

  int width_, levels_;
  bool mean_, plain_ = true;
  std::vector<std::int32_t> tokens_;  // (I, L), -1 where absent
  std::unique_ptr<Embedding> table_;
};

}  // namespace tessera
