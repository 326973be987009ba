#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/data/rejects.h"
#include "tensor/core/export.h"

// From the rows of a file to numbered users and items in time order: what most data sources do last.
namespace tessera {

// Original ids and their numbers, in order of first appearance.
class TESSERA_API IdIndex {
 public:
  std::int32_t add(std::string_view id);         // the id's number, new or old
  std::int32_t find(std::string_view id) const;  // -1 where it is unknown
  std::int64_t size() const { return static_cast<std::int64_t>(ids_.size()); }
  const std::vector<std::string>& ids() const { return ids_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view id) const { return std::hash<std::string_view>()(id); }
  };
  std::vector<std::string> ids_;
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> numbers_;
};

struct InteractionRow {
  std::int32_t user = 0, item = 0;
  std::int64_t time = 0;
  float rating = 0.0f;
  std::int8_t label = 0;
  Part part = Part::train;
};

// Which columns of the rows mean something; the others stay empty.
struct InteractionColumns {
  bool time = false, rating = false, label = false, part = false;
};

// The option `positive_above` of sources with ratings: labels for click heads.
struct LabelRule {
  double positive_above = -1.0;

  template <class V>
  void describe(V& v) {
    v("positive_above", positive_above,
      "labels for click heads: 1 where the rating is above this, else 0; -1: no labels are made", -1.0, 1e6);
  }
  std::int8_t label(double rating) const { return rating > positive_above ? 1 : 0; }
  bool wanted() const { return positive_above >= 0; }
  // Throws DataError where the rows have no ratings, or labels of their own. path: for the sentence.
  TESSERA_API void apply(const std::string& path, std::vector<InteractionRow>& rows, InteractionColumns& columns) const;
};

// Rows -> CSR. Each user's rows are sorted by time where there are times; ties, and rows without times, keep the file's
// order.
TESSERA_API Interactions interactions_of(const std::vector<InteractionRow>& rows, std::int64_t users,
                                         const InteractionColumns& columns);

// The catalogue where no file lists it: ids that are all whole numbers are sorted as such, so that row r of a feature
// file is the r-th; other ids keep the order in which they came. Numbers the rows' items anew.
TESSERA_API std::vector<std::string> catalogue_of(const IdIndex& items, std::vector<InteractionRow>& rows);

// Ids, titles and raw fields from JSON lines, one object an item: "id", "title" (or "name"), any other members as
// fields of their names, lists opened and joined by ", ". Items without an id, and ids that are taken, go to `rejects`;
// calls its finish().
TESSERA_API Items read_item_lines(const std::string& path, IdIndex& index, Rejects& rejects);

// Drops users and items with fewer than `core` rows until none is left, and numbers the rest anew in order. Returns the
// kept old numbers: users, items.
struct Core {
  std::vector<std::int32_t> users, items;
};
TESSERA_API Core keep_core(std::vector<InteractionRow>& rows, std::int64_t users, std::int64_t items,
                           std::int64_t core);

}  // namespace tessera
