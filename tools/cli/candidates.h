#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "framework/data/dataset.h"
#include "framework/data/histories.h"

namespace tessera {
class Pipeline;
class UserMemory;
}  // namespace tessera

namespace tessera::cli {

// Lists of items to score, as a file gives them: `user item item ...` a line, original ids between blanks.
struct CandidateLists {
  std::vector<std::string> name;        // (R)
  std::vector<std::int32_t> user;       // (R) -1 where the data set lacks the user
  std::vector<std::int64_t> offset{0};  // (R + 1)
  std::vector<std::int32_t> item;
};
// Throws DataError with the first ten lines that name a user (but for any_user) or an item that the data set lacks, and
// a count of the rest.
CandidateLists read_candidates(const std::string& path, const Dataset& data, bool any_user);

// One more row: everything known of a user of the data set, what was done included.
void add_user_history(Histories& histories, const Dataset& data, std::int32_t user);

// Scores of the lists by the run's head, given everything known of each user, or what `memory` holds; one line a
// candidate: user, item, score and, where the head predicts clicks, their probability, between tabs; as JSON one line a
// list.
void print_candidate_scores(const Pipeline& pipeline, const CandidateLists& lists, bool json, const UserMemory* memory);

}  // namespace tessera::cli
