#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tensor/core/error.h"
#include "tensor/core/export.h"
#include "tensor/core/tensor.h"

namespace tessera {

// Bad records of a data file: the first ten by record number, with a count of the rest.
class TESSERA_API DataError : public Error {
 public:
  using Error::Error;
  ~DataError() override;
};

// Items as they came, whether they are in the catalogue or new. Index = internal item number, from 0.
struct Items {
  std::vector<std::string> ids;     // (I) original ids, unique
  std::vector<std::string> titles;  // (I) or empty
  std::map<std::string, std::vector<std::string>>
      fields;  // raw text by name ("description", "category", "image"), each (I)
  std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
};

// Vectors of one modality.
struct ItemFeatures {
  std::string modality;               // "text", "image", ...
  Tensor values;                      // (I, D) f32; rows of absent items are zero
  std::vector<std::uint8_t> present;  // (I) 1 where the item has this modality
  std::int64_t width() const { return values.columns(); }
};

enum class Part : std::uint8_t { train, valid, test, none };

// Who did what, as CSR per user in time order. Optional columns are empty or as long as item.
struct Interactions {
  std::vector<std::int64_t> offset{0};  // (U + 1)
  std::vector<std::int32_t> item;       // (N)
  std::vector<std::int64_t> time;       // (N) seconds, or empty
  std::vector<float> rating;            // (N) or empty
  std::vector<std::int8_t> label;       // (N) click or action type, or empty
  std::vector<Part> part;               // (N) set by split(), or by a source with a given split
  std::int64_t users() const { return static_cast<std::int64_t>(offset.size()) - 1; }
  std::int64_t size() const { return static_cast<std::int64_t>(item.size()); }
  std::int64_t begin(std::int64_t user) const { return offset[static_cast<std::size_t>(user)]; }
  std::int64_t end(std::int64_t user) const { return offset[static_cast<std::size_t>(user) + 1]; }
};

struct Dataset {
  std::string name;
  std::vector<std::string> user_ids;  // (U) original ids, unique
  Items items;
  Interactions interactions;
  bool split_given = false;                      // the source brought its own parts (MMRec's x_label)
  std::map<std::string, ItemFeatures> features;  // by modality; filled by featurizers
  std::map<std::string, std::string> files;      // [data.files]: modality -> path, for featurizers that read files
  std::vector<std::uint8_t> cold_items;  // (I) 1: split.cold_items took its training interactions away; or empty
  std::optional<double> oracle_recall_at_10;     // where the source knows the truth (synthetic)

  std::int64_t users() const { return interactions.users(); }
  std::int64_t item_count() const { return items.size(); }
};

// Training interactions an item has, (I). Popularity everywhere means this.
TESSERA_API std::vector<std::int64_t> train_counts(const Dataset& data);
// A hash of ids, interactions and parts, for the manifest: 16 hexadecimal digits.
TESSERA_API std::string fingerprint(const Dataset& data);
// Throws DataError where the parts of the dataset do not fit each other: sizes, ids out of range, duplicate ids, NaN or
// infinite features, empty users.
TESSERA_API void validate(const Dataset& data);

}  // namespace tessera
