#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/catalog/tokens.h"
#include "framework/data/dataset.h"
#include "framework/roles/context.h"

namespace tessera {

// A number that a tokenizer adds to the common health report (framework/catalog/health.h).
struct HealthFigure {
  std::string name;  // "text: R2 of the private part from the shared part"
  double value = 0.0;
};

// Who took items that a tokenizer has never seen, jagged: user numbers of the data set that it was fitted on. Of item i
// they are user[offset[i]] .. user[offset[i + 1] - 1], each once, in any order.
struct ItemUsers {
  std::vector<std::int64_t> offset{0};  // (n + 1)
  std::vector<std::int32_t> user;
};

// Item -> tuple of codes. Fitted on training data alone (it may read Dataset::features and the interactions whose part
// is train), then frozen. encode() and reconstruct() are const and thread-safe.
class TESSERA_API Tokenizer {
 public:
  static constexpr const char* kRole = "tokenizer";
  virtual ~Tokenizer();
  virtual std::vector<std::string> modalities() const {
    return {};
  }  // features that it needs; empty: ids alone, or any
  virtual void fit(const Dataset& data, FitContext& context) = 0;
  virtual ItemTokens tokens(const Dataset& data) const = 0;  // of the catalogue it was fitted on
  // (n, L) codes of items never seen, one row of each modality's vectors an item. Throws Error where items cannot be
  // encoded.
  virtual std::vector<std::int32_t> encode(const std::map<std::string, ItemFeatures>& features) const = 0;
  // The same where a few users took the items already; n rows of features, or an item without features known by its
  // users alone. A tokenizer that reads features alone leaves the users out of account. Throws Error for a user that it
  // does not know. Const and thread-safe.
  virtual std::vector<std::int32_t> encode_taken(const std::map<std::string, ItemFeatures>& features,
                                                 const ItemUsers& users) const;
  // Features of a modality rebuilt from the first `levels` levels of codes (n, L): (n, D), for the health report.
  // Empty: cannot.
  virtual Tensor reconstruct(std::span<const std::int32_t> codes, int levels, const std::string& modality) const;
  // What the reconstruction is compared with, (I, D), where it is not the raw feature (a tokenizer that standardises).
  // Empty: raw.
  virtual Tensor reconstruction_target(const Dataset& data, const std::string& modality) const;
  // (I, K) squared distances of each item's last residual to the last codebook, for the policy `repair`. Empty: cannot.
  virtual Tensor last_level_distances(const Dataset& data) const;
  // What else its health report should tell. Deterministic. Empty: nothing, or the data's features are not at hand.
  virtual std::vector<HealthFigure> health(const Dataset& data) const;
  virtual void visit(StateVisitor& state) = 0;
};

}  // namespace tessera
