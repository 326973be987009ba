#include "plugins/synthetic/world.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/core/error.h"

namespace tessera::synthetic {
namespace {

constexpr double kStyleMatch = 3.0;                     // an item in the user's style is chosen so many times as often
constexpr double kCategoryZipf = 0.5;                   // categories are less unequal than items
constexpr double kFollows = 0.40, kComplements = 0.20;  // shares of what is no noise; the rest is the user's interest
constexpr std::int64_t kEpoch = 1'600'000'000, kDay = 86'400;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

Random stream(const WorldOptions& options, const char* purpose, std::int64_t number) {
  return {static_cast<std::uint64_t>(options.seed), stream_of(purpose) + static_cast<std::uint64_t>(number)};
}

// The first place in [begin, end) whose cumulative weight passes u times the last one's.
std::int64_t draw_place(const double* cumulative, std::int64_t begin, std::int64_t end, double u) {
  const double* found = std::upper_bound(cumulative + begin, cumulative + end, u * cumulative[end - 1]);
  return std::min<std::int64_t>(found - cumulative, end - 1);
}

double weight_at(const double* cumulative, std::int64_t begin, std::int64_t place) {
  return cumulative[place] - (place > begin ? cumulative[place - 1] : 0.0);
}

}  // namespace

World::World(const WorldOptions& options) : options_(options) {
  const double leaves = static_cast<double>(options.categories);
  tops_ = std::min(12, static_cast<int>(std::ceil(std::cbrt(leaves))));
  middles_ = std::min(8, static_cast<int>(std::ceil(std::sqrt(leaves / tops_))));
  place_items();
  weigh_places();
  choose_successors();
}

Leaf World::leaf(std::int32_t category) const {
  return {category % tops_, category / tops_ % middles_, category / (tops_ * middles_)};
}

bool World::lacks(std::int32_t item, const char* modality) const {
  return stream(options_, modality, item).uniform() < options_.missing;
}

int World::kind(std::int32_t item, const char* modality) const {
  return static_cast<int>(stream(options_, str("synthetic/kind/", modality).c_str(), item).below(options_.kinds));
}

// Items are dealt to categories in a random order, so each category has about as many; the first of a category that are
// dealt are its most popular. Cold items have a category but no place.
void World::place_items() {
  const std::int64_t items = options_.items, categories = options_.categories;
  std::vector<std::int32_t> dealt(at(items));
  std::iota(dealt.begin(), dealt.end(), 0);
  Random random = stream(options_, "synthetic/deal", 0);
  random.shuffle(std::span<std::int32_t>(dealt));
  category_.resize(at(items));
  style_.resize(at(items));
  for (std::int64_t i = 0; i < items; ++i) {
    category_[at(dealt[at(i)])] = static_cast<std::int32_t>(i % categories);
    style_[at(dealt[at(i)])] = static_cast<std::uint8_t>(random.below(kStyles));
  }
  complement_.resize(at(categories));
  for (std::int64_t c = 0; c < categories; ++c) {
    const bool near = random.uniform() < 0.7 && categories > tops_;
    std::int64_t other = c;
    for (int tries = 0; tries < 64 && (other == c || (near && other % tops_ != c % tops_)); ++tries)
      other = random.below(categories);
    complement_[at(c)] = static_cast<std::int32_t>(other);
  }
  place_.assign(at(items), -1);
  category_begin_.push_back(0);
  const auto warm = static_cast<std::int64_t>(std::llround((1.0 - options_.cold) * static_cast<double>(items)));
  for (std::int64_t c = 0; c < categories; ++c) {
    for (std::int64_t i = c; i < std::max(warm, categories); i += categories) {
      place_[at(dealt[at(i)])] = static_cast<std::int32_t>(item_at_.size());
      item_at_.push_back(dealt[at(i)]);
    }
    category_begin_.push_back(static_cast<std::int64_t>(item_at_.size()));
  }
}

void World::weigh_places() {
  const auto places = static_cast<std::int64_t>(item_at_.size());
  in_category_.resize(at(kStyles * places));
  popular_.resize(at(places));
  popular_sorted_.resize(at(places));
  double all = 0.0;
  for (std::int64_t c = 0; c < options_.categories; ++c) {
    const double category_weight = std::pow(static_cast<double>(c + 1), -kCategoryZipf);
    double sums[kStyles] = {};
    for (std::int64_t p = category_begin_[at(c)]; p < category_begin_[at(c + 1)]; ++p) {
      const double weight = std::pow(static_cast<double>(p - category_begin_[at(c)] + 1), -options_.zipf);
      for (int s = 0; s < kStyles; ++s)
        in_category_[at(s * places + p)] = sums[s] += weight * (style_[at(item_at_[at(p)])] == s ? kStyleMatch : 1.0);
      popular_[at(p)] = all += weight * category_weight;
    }
  }
  for (std::int64_t p = 0; p < places; ++p) popular_sorted_[at(p)] = popularity(item_at_[at(p)]);
  std::sort(popular_sorted_.begin(), popular_sorted_.end());
}

// Half of an item's successors stand in its own category, half in the one that follows it; all tend to its style.
void World::choose_successors() {
  successor_.assign(at(options_.items * kSuccessors), -1);
  for (std::int32_t item = 0; item < options_.items; ++item) {
    if (cold(item)) continue;
    Random random = stream(options_, "synthetic/successors", item);
    std::int32_t* mine = successor_.data() + std::int64_t{item} * kSuccessors;
    for (int m = 0; m < kSuccessors; ++m) {
      const std::int32_t from = m % 2 == 0 ? category(item) : complement_[at(category(item))];
      std::int32_t next = item;
      for (int tries = 0; next == item || std::find(mine, mine + m, next) != mine + m; ++tries)
        next = tries < 16 ? draw_of_category(from, style(item), random) : draw_popular(random);
      mine[m] = next;
    }
  }
}

std::int32_t World::draw_of_category(std::int32_t category, int style, Random& random) const {
  const double* cumulative = in_category_.data() + std::int64_t{style} * static_cast<std::int64_t>(item_at_.size());
  return item_at_[at(
      draw_place(cumulative, category_begin_[at(category)], category_begin_[at(category + 1)], random.uniform()))];
}

std::int32_t World::draw_popular(Random& random) const {
  return item_at_[at(draw_place(popular_.data(), 0, static_cast<std::int64_t>(popular_.size()), random.uniform()))];
}

double World::share_in_category(std::int32_t category, int style, std::int32_t item) const {
  if (cold(item) || category_[at(item)] != category) return 0.0;
  const double* cumulative = in_category_.data() + std::int64_t{style} * static_cast<std::int64_t>(item_at_.size());
  return weight_at(cumulative, category_begin_[at(category)], place_[at(item)]) /
         cumulative[category_begin_[at(category + 1)] - 1];
}

double World::popularity(std::int32_t item) const {
  return cold(item) ? 0.0 : weight_at(popular_.data(), 0, place_[at(item)]) / popular_.back();
}

std::int32_t World::draw(const State& state, Random& random) const {
  double u = random.uniform();
  if (u < options_.noise) return draw_popular(random);
  u = (u - options_.noise) / (1.0 - options_.noise);
  if (state.previous < 0 || u >= kFollows + kComplements) return draw_of_category(state.interest, state.style, random);
  if (u >= kFollows) return draw_of_category(complement_[at(category(state.previous))], state.style, random);
  u /= kFollows;
  int m = 0;
  while (m + 1 < kSuccessors && u >= kSuccessorShare[m]) u -= kSuccessorShare[m++];
  return successor_[at(std::int64_t{state.previous} * kSuccessors + m)];
}

double World::probability(const State& state, std::int32_t item) const {
  const double interest = share_in_category(state.interest, state.style, item);
  double structure = interest;
  if (state.previous >= 0) {
    structure = (1.0 - kFollows - kComplements) * interest +
                kComplements * share_in_category(complement_[at(category(state.previous))], state.style, item);
    const std::int32_t* successors = successor_.data() + std::int64_t{state.previous} * kSuccessors;
    for (int m = 0; m < kSuccessors; ++m)
      if (successors[m] == item) structure += kFollows * kSuccessorShare[m];
  }
  return options_.noise * popularity(item) + (1.0 - options_.noise) * structure;
}

// Only successors and the items of two categories can be likelier than their popularity alone says; all others are
// counted at once in the sorted popularities.
std::int64_t World::likelier(const State& state, std::int32_t item, const std::vector<Event>& seen) const {
  const double wanted = probability(state, item);
  std::vector<std::int32_t> special;
  const auto add_category = [&](std::int32_t c) {
    special.insert(special.end(), item_at_.begin() + category_begin_[at(c)],
                   item_at_.begin() + category_begin_[at(c + 1)]);
  };
  add_category(state.interest);
  if (state.previous >= 0) {
    add_category(complement_[at(category(state.previous))]);
    const std::int32_t* successors = successor_.data() + std::int64_t{state.previous} * kSuccessors;
    special.insert(special.end(), successors, successors + kSuccessors);
  }
  const std::size_t candidates = special.size();
  for (const Event& event : seen) special.push_back(event.item);
  std::vector<std::int32_t> struck(special.begin() + static_cast<std::ptrdiff_t>(candidates), special.end());
  std::sort(struck.begin(), struck.end());
  std::sort(special.begin(), special.end());
  special.erase(std::unique(special.begin(), special.end()), special.end());
  const auto popular = [&](double p) { return options_.noise * p > wanted; };
  std::int64_t count = popular_sorted_.end() - std::partition_point(popular_sorted_.begin(), popular_sorted_.end(),
                                                                    [&](double p) { return !popular(p); });
  for (const std::int32_t other : special) {
    if (popular(popularity(other))) --count;
    if (other != item && !std::binary_search(struck.begin(), struck.end(), other) && probability(state, other) > wanted)
      ++count;
  }
  return count;
}

// Three categories, two of them under one top.
void World::choose_interests(std::int32_t (&interests)[3], Random& random) const {
  interests[0] = category(draw_popular(random));
  interests[1] = static_cast<std::int32_t>((interests[0] % tops_ + tops_ * random.below(options_.categories)) %
                                           options_.categories);
  interests[2] = category(draw_popular(random));
}

std::int64_t World::user(std::int64_t number, std::vector<Event>& events) const {
  events.clear();
  Random random = stream(options_, "synthetic/user", number);
  State state;
  state.style = static_cast<int>(random.below(kStyles));
  std::int32_t interests[3];
  choose_interests(interests, random);
  state.interest = interests[0];
  std::int64_t time = kEpoch + random.below(180 * kDay), ahead = 0;
  const std::int64_t length = options_.min_length + random.below(options_.max_length - options_.min_length + 1);
  for (std::int64_t i = 0; i < length; ++i) {
    if (i > 0 && random.uniform() < 0.2) {  // a new session
      time += kDay / 4 + random.below(14 * kDay);
      state.previous = -1;
      std::int32_t& active = interests[random.below(3)];
      if (random.uniform() < options_.drift) active = category(draw_popular(random));
      state.interest = active;
    }
    std::int32_t item = draw(state, random);
    while (std::any_of(events.begin(), events.end(), [&](const Event& e) { return e.item == item; }))
      item = draw(state, random);
    if (i + 1 == length) ahead = likelier(state, item, events);
    time += 30 + random.below(600);
    const double liking =
        3.2 + (style(item) == state.style ? 1.0 : 0.0) + (category(item) == state.interest ? 0.5 : 0.0);
    const double rating = std::clamp(std::round(liking + 0.8 * random.normal()), 1.0, 5.0);
    events.push_back({item, time, static_cast<float>(rating)});
    state.previous = item;
  }
  return ahead;
}

}  // namespace tessera::synthetic
