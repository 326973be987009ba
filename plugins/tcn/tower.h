#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/nn/embedding.h"
#include "framework/nn/item_tower.h"

namespace tessera {

struct TowerOptions {
  std::string variant = "cross", towers = "both", init = "normal";
  int layers = 1;
  double deviation = 0.1, token_dropout = 0.0;
};

// An item's vector from the vectors of its tokens (README.md has the formulas): their mean, a factorisation-machine
// cross, or a token cross network; over all tokens, and over those of each modality. Tokens that an item lacks (-1)
// count nowhere: sums are divided by the number (mean) or its root of the tokens that are there.
class TcnTower final : public ItemTower {
 public:
  TcnTower(const Catalog& catalog, int width, const TowerOptions& options);
  ~TcnTower() override;
  int width() const override { return width_; }
  // Rows of all() where those were made on this tape, or are expected; else of the different items alone.
  Tensor vectors(std::span<const std::int32_t> items) override;
  Tensor all() override;  // once a tape, and once a scope of FrozenWeights
  void expect_all() override { expect_all_ = true; }

 private:
  // One network over some of an item's tokens; crosses share everything but the mix of tokens.
  struct Group {
    std::string name;
    std::vector<std::size_t> levels;
    Parameter* mix = nullptr;                       // cross: (layers, T, T)
    Parameter *first = nullptr, *second = nullptr;  // fm: (D, D) of sums, and of pairs where there are any
  };
  struct Network {
    std::vector<Group> groups;
    Parameter *first = nullptr, *weight = nullptr, *bias = nullptr;  // cross: (D, D), (layers - 1, D, D), (layers, D)
  };
  Network network(const std::string& name, std::vector<Group> groups);
  bool kept() const;
  Tensor combine(std::vector<std::int32_t> tokens);
  Tensor cross(const Network& network, const std::vector<std::int32_t>& tokens);
  Tensor pairs(const Network& network, const std::vector<std::int32_t>& tokens, const Tensor& share);

  TowerOptions options_;
  int width_, levels_;
  bool plain_ = false, expect_all_ = false;
  std::vector<std::int32_t> tokens_;  // (I, T), -1 where absent
  std::unique_ptr<Embedding> table_;
  std::vector<Network> networks_;
  Parameter* offset_ = nullptr;  // fm: (D)
  Tensor all_;                   // with the table's node that they were made from, or the scope of FrozenWeights
  std::int64_t all_node_ = -1;
  std::uint64_t all_scope_ = 0;
};

// First vectors of the tokens from those that the tokenizer brings: on the principal directions of the items' sums, at
// such a size that an item's sum over the root of its tokens has a mean square of deviation^2. Rows without a vector
// and columns beyond the directions are normal.
Initializer from_token_vectors(const Catalog& catalog, int width, double deviation);

}  // namespace tessera
