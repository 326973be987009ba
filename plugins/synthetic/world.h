#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tensor/core/random.h"

namespace tessera::synthetic {

struct WorldOptions {
  std::int64_t seed = 1, users = 2000, items = 600, categories = 48;
  int min_length = 10, max_length = 40;
  double zipf = 1.0, drift = 0.1, noise = 0.15, cold = 0.03, missing = 0.05;
  std::int64_t kinds = 6;  // of the vectors alone (vectors.h)
  double vector_noise = 0.5;
};

constexpr int kStyles = 6;
constexpr int kSuccessors = 6;
constexpr double kSuccessorShare[kSuccessors] = {0.35, 0.22, 0.16, 0.12, 0.09, 0.06};

// A leaf of the tree of categories: its number and those of the nodes above it.
struct Leaf {
  int top = 0, middle = 0, variant = 0;
};

struct Event {
  std::int32_t item = 0;
  std::int64_t time = 0;
  float rating = 0.0f;
};

// What a user's next item is drawn from; README.md has the formula. `previous` is -1 at the start of a session.
struct State {
  std::int32_t interest = 0, previous = -1;
  int style = 0;
};

// The made world: items and the true probabilities of users' choices. Users are pure functions of (seed, user), so none
// is kept. Const and thread-safe after construction. Memory: about 80 bytes an item.
class World {
 public:
  explicit World(const WorldOptions& options);

  const WorldOptions& options() const { return options_; }
  Leaf leaf(std::int32_t category) const;
  std::int32_t category(std::int32_t item) const { return category_[static_cast<std::size_t>(item)]; }
  int style(std::int32_t item) const { return style_[static_cast<std::size_t>(item)]; }
  // What this modality of an item has for itself, 0 .. kinds - 1, drawn apart for each modality; seen in vectors alone.
  int kind(std::int32_t item, const char* modality) const;
  bool cold(std::int32_t item) const { return place_[static_cast<std::size_t>(item)] < 0; }
  bool lacks(std::int32_t item, const char* modality) const;  // this item has no such modality

  // The user's events, oldest first, no item twice. Returns how many unseen items were truly likelier than the last
  // event's.
  std::int64_t user(std::int64_t number, std::vector<Event>& events) const;

  // The probability that `item` is next before seen items are struck out.
  double probability(const State& state, std::int32_t item) const;

 private:
  void place_items();
  void weigh_places();
  void choose_successors();
  std::int32_t draw(const State& state, Random& random) const;
  std::int32_t draw_of_category(std::int32_t category, int style, Random& random) const;
  std::int32_t draw_popular(Random& random) const;
  double share_in_category(std::int32_t category, int style, std::int32_t item) const;
  double popularity(std::int32_t item) const;
  std::int64_t likelier(const State& state, std::int32_t item, const std::vector<Event>& seen) const;
  void choose_interests(std::int32_t (&interests)[3], Random& random) const;

  WorldOptions options_;
  int tops_ = 1, middles_ = 1;
  std::vector<std::int32_t> category_;        // (I)
  std::vector<std::uint8_t> style_;           // (I)
  std::vector<std::int32_t> complement_;      // (C) the category that follows a category
  std::vector<std::int64_t> category_begin_;  // (C + 1) places of a category
  std::vector<std::int32_t> item_at_;         // (P) warm items by category, most popular first
  std::vector<std::int32_t> place_;           // (I) inverse of item_at_, -1: cold
  std::vector<double> in_category_;           // (kStyles, P) cumulative within each category
  std::vector<double> popular_;               // (P) cumulative over all places
  std::vector<double> popular_sorted_;        // (P) popularities, ascending
  std::vector<std::int32_t> successor_;       // (I, kSuccessors)
};

}  // namespace tessera::synthetic
