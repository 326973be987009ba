#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "framework/roles/model.h"

namespace tessera {

// Which items may be answered. Everything that a head returns obeys it.
struct RankRequest {
  int k = 10;
  std::vector<std::int64_t>
      excluded_offset;  // (B + 1), with excluded: items that a row may not get (its own history, say); or empty
  std::vector<std::int32_t> excluded;
  std::vector<std::uint8_t> allowed;  // (I) 0/1: in stock, of a category; or empty: all
};

struct Ranking {
  int k = 0;
  std::vector<std::int32_t> item;  // (B, k) best first; -1 where there are fewer. Ties go to the smaller item number
  std::vector<float> score;        // (B, k) inner product, log-likelihood or logit: see the head's README
};

// One level of a generated identifier, given the history and the codes before it. The probabilities are the head's own,
// before anything is ruled out: those of the codes left, trie_removed and filters_removed add up to one.
struct LevelReason {
  std::int32_t code = 0;             // -1: absent
  double log_likelihood = 0.0;       // of the code; over the levels they add up to score()
  double log_likelihood_left = 0.0;  // of the code among those left; -infinity where it was ruled out itself
  double trie_removed = 0.0;         // probability of all codes that lead to no item
  double filters_removed = 0.0;      // probability of all codes that lead only to items which the request rules out
  std::vector<double> weight;  // of each item of the row's history, oldest first; 0 where the model did not read it
};

// What carried generated items, and what weight means.
struct Explanation {
  enum class Weight {
    attention,  // share of the decoder's attention, mean over its heads and layers: none below 0, they add up to one
    left_out,   // log-likelihood of the code less what it is without the item: above 0, the item spoke for the code
  };
  Weight weight = Weight::left_out;
  std::vector<std::vector<LevelReason>> items;  // one an item asked for, in that order: its levels
};

struct HeadSpec {
  BatchForm form = BatchForm::every_position;
  bool has_item_tower = false;
  bool needs_unique_items = false;  // identifiers must be unique (generative heads)
  bool needs_labels = false;        // click heads
  bool answers_memories = false;    // offers rank_memory() and score_memory() for this model
  bool explains = false;            // offers explain(): it generates items
  int negatives = 0;                // a target, in TrainBatch::negative; the model may ask for more
};

// Memory -> loss, ranked items, exact scores.
class TESSERA_API Head : public Module {
 public:
  static constexpr const char* kRole = "head";
  ~Head() override;
  virtual HeadSpec spec(const ModelSpec& model) const = 0;
  // Makes the parameters; called before the model's build(). Throws ConfigError that names the neighbour and what it
  // lacks.
  virtual void build(const BuildContext& context, const ModelSpec& model) = 0;
  virtual ItemVectorSource* item_tower();                          // null where there is none
  virtual Tensor loss(Model& model, const TrainBatch& batch) = 0;  // scalar, mean over targets; empty: it adds none
  virtual Ranking rank(Model& model, const Histories& histories, const RankRequest& request) = 0;
  // Exact scores of given items: candidates of row b are items[offset[b] .. offset[b + 1]). Returns one number a
  // candidate, on the scale of rank().
  virtual std::vector<float> score(Model& model, const Histories& histories, std::span<const std::int64_t> offset,
                                   std::span<const std::int32_t> items) = 0;
  // The same from what the model remembers of users (encode(), append(), import_rows()), without their histories.
  virtual Ranking rank_memory(Model& model, const Memory& memory, const RankRequest& request);
  virtual std::vector<float> score_memory(Model& model, const Memory& memory, std::span<const std::int64_t> offset,
                                          std::span<const std::int32_t> items);
  // Scores of the histories' own items, each given what stands before it: (N). The default asks score() item by item
  // with the history cut before it; causal models answer in one pass.
  virtual std::vector<float> score_each(Model& model, const Histories& histories);
  // What carried items that rank() gave for the request, level by level; items as in score(). Dearer than score().
  virtual Explanation explain(Model& model, const Histories& histories, const RankRequest& request,
                              std::span<const std::int64_t> offset, std::span<const std::int32_t> items);
};

}  // namespace tessera
