#pragma once

#include <map>
#include <memory>
#include <vector>

#include "framework/catalog/catalog.h"
#include "framework/nn/embedding.h"
#include "framework/roles/item_vectors.h"
#include "plugins/generative_decoder/options.h"

namespace tessera {

// Scores of one level for C prefixes: log-probabilities of a prefix's children.
class LevelScores {
 public:
  // out: one number a child, in the order of the trie.
  void children(std::int32_t prefix, const Trie::Children& children, double* out) const;
  // Probability of all that is no child: codes that lead to no item, of other levels too where these share a
  // vocabulary. 0 where legal.
  double outside(std::int32_t prefix, const Trie::Children& children) const;
  // Of all codes 0 .. K - 1 of the level, whether an item has them or not; not where legal or where nodes have vectors.
  void all(std::int32_t prefix, std::int64_t codes, double* out) const;

 private:
  friend class CodeTable;
  bool legal_ = false;
  Tensor logits_, normalizer_;  // (C, columns); (C), or empty where legal
  std::int64_t first_ = 0, absent_ = 0;
  Tensor queries_, nodes_;  // where nodes have vectors of their own: (C, D), (nodes of the level, D)
  std::int32_t first_node_ = 0;
};

// The codes of all levels: their vectors as they are read and as they are written, the loss and the scores of a level,
// and, as an item tower, the sum of an item's code vectors. A level whose code may be absent has one class more, after
// its codes. Prefixes of chosen lengths have vectors of their own, added to the item's (input_prefixes) or to the
// newest code's as it is written (output_prefixes).
// Where only codes that lead to an item may follow (legal), training chooses among those that lead to an item with
// training interactions: what nothing can teach is not pushed away as wrong, so that new items stay where their codes
// put them. Scores are over all items.
class CodeTable final : public Module, public ItemVectorSource {
 public:
  // counts: (I) training interactions of each item; read where legal.
  CodeTable(const Catalog& catalog, int width, const GenerativeOptions& options, std::span<const std::int64_t> counts);
  ~CodeTable() override;

  int levels() const { return static_cast<int>(classes_.size()); }
  int width() const override { return width_; }
  Tensor vectors(std::span<const std::int32_t> items) override;
  Tensor all() override;

  Tensor read(int level, std::span<const std::int32_t> codes);        // (n) codes, -1: absent -> (n, D)
  Tensor read_items(int level, std::span<const std::int32_t> items);  // the codes of these items at a level
  Tensor start(std::int64_t rows);                                    // (rows, D): what stands before the first level
  // Scalar: mean of -log p(code of the item at this level | its codes before), query (n, D), items (n).
  Tensor loss(int level, const Tensor& query, std::span<const std::int32_t> items);
  LevelScores scores(int level, const Tensor& query);  // not recorded

 private:
  struct FirstVectors {
    Tensor codes, input, output;  // all codes; prefixes of one length as they are read, as they are written
  };
  // What the tables begin with. init = "vectors": a code with the mean of its items' vectors less what the codes before
  // it hold, so that they add up to the items; a written prefix, together with its newest code, with its items' mean.
  FirstVectors first_vectors(int wanted) const;               // length of the prefixes
  std::vector<std::int32_t> nodes_of_items(int depth) const;  // (I), from 0 at each depth
  Tensor item_vectors(std::span<const std::int32_t> items, bool training);
  Tensor queries(const Tensor& query) const;
  Tensor unit(const Tensor& x) const;
  Tensor output_rows(int level);
  Tensor output_bias(int level);
  Tensor logits(int level, const Tensor& query);
  Tensor node_vectors(int depth);  // as they are written, (nodes of this depth, D)
  void count_taught(std::span<const std::int64_t> counts);
  bool taught(std::int32_t node) const {
    return taught_before_[static_cast<std::size_t>(node) + 1] > taught_before_[static_cast<std::size_t>(node)];
  }
  // Number of a node among those of its depth that are taught; of any other, of the next that is.
  std::int32_t taught_number(std::int32_t node, int depth) const {
    return taught_before_[static_cast<std::size_t>(node)] -
           taught_before_[static_cast<std::size_t>(first_node_[static_cast<std::size_t>(depth)])];
  }
  Tensor taught_vectors(int depth);  // of node_vectors() the rows that are taught
  Tensor legal_loss(int level, const Tensor& query, std::span<const std::int32_t> items);
  int first(int level) const { return shared_ ? 0 : offset_[static_cast<std::size_t>(level)]; }
  int end(int level) const { return shared_ ? offset_.back() : offset_[static_cast<std::size_t>(level) + 1]; }
  std::int32_t class_of(int level, std::int32_t code) const;  // in the whole table
  std::int32_t token(std::int32_t item, int level) const {
    return tokens_[static_cast<std::size_t>(item) * classes_.size() + static_cast<std::size_t>(level)];
  }
  std::int32_t node(std::int32_t item, int depth) const {
    return nodes_[static_cast<std::size_t>(item) * (classes_.size() + 1) + static_cast<std::size_t>(depth)];
  }

  const Catalog& catalog_;
  int width_;
  GenerativeOptions options_;
  bool shared_;
  std::vector<int> classes_, offset_{0};                // (L), (L + 1)
  std::vector<std::int32_t> tokens_;                    // (I, L) classes in the whole table
  std::vector<std::int32_t> nodes_;                     // (I, L + 1) the prefixes of each item, by length
  std::vector<std::int32_t> first_node_;                // (L + 2) first node of each depth, and the end
  std::vector<std::int32_t> taught_before_;             // (nodes + 1) of the nodes before each, those that are taught
  std::vector<std::vector<std::int32_t>> taught_rows_;  // by depth: numbers at their depth of those that are taught
  std::vector<std::vector<std::int32_t>> node_class_;   // by depth: the class of each node's newest code
  std::unique_ptr<Embedding> read_, write_;             // write_ is null where tied
  std::map<int, std::unique_ptr<Embedding>> input_nodes_, output_nodes_;  // by depth
  Parameter* bias_ = nullptr;
  Parameter* start_ = nullptr;
};

}  // namespace tessera
