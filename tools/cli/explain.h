#pragma once

#include <optional>
#include <string>
#include <vector>

#include "framework/pipeline/pipeline.h"

namespace tessera::cli {

// What `tessera recommend --explain` says of the items of a ranking: their identifiers beside those of the history and,
// where the head generates items, what carried them. Borrows the pipeline and the histories.
class Reasons {
 public:
  // Asks the head for what it tells of the whole ranking. remembered: the histories come from a user memory.
  Reasons(const Pipeline& pipeline, const Histories& histories, const RankRequest& request, const Ranking& ranking,
          bool remembered);
  const std::string& silence() const { return silence_; }  // why there are identifiers alone, or empty
  std::string text(std::int64_t row, int place) const;     // lines for people
  std::string json(std::int64_t row, int place) const;     // members of an item's object, each after a comma
  std::string history_json(std::int64_t row) const;        // the same of a user's object

 private:
  std::string identifier(std::int64_t row, std::int32_t item) const;
  std::string levels_text(const std::vector<LevelReason>& levels) const;
  std::string history_text(std::int64_t row, const std::vector<LevelReason>& levels) const;
  std::int32_t item(std::int64_t row, int place) const {
    return ranking_.item[static_cast<std::size_t>(row * ranking_.k + place)];
  }
  const std::vector<LevelReason>& levels(std::int64_t row, int place) const {
    return explanation_->items[static_cast<std::size_t>(offset_[static_cast<std::size_t>(row)] + place)];
  }

  const Pipeline& pipeline_;
  const Histories& histories_;
  const Ranking& ranking_;
  std::string silence_;
  std::vector<std::int64_t> offset_{0};  // (B + 1) of the explained items
  std::optional<Explanation> explanation_;
};

}  // namespace tessera::cli
