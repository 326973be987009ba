#include "framework/catalog/catalog.h"

#include <algorithm>

#include "framework/catalog/order.h"
#include "framework/catalog/repair.h"

namespace tessera {
namespace {

constexpr struct {
  CollisionPolicy policy;
  const char* name;
} kPolicies[] = {{CollisionPolicy::none, "none"},
                 {CollisionPolicy::counter, "counter"},
                 {CollisionPolicy::popularity, "popularity"},
                 {CollisionPolicy::repair, "repair"}};

void check_tokens(const ItemTokens& tokens) {
  const auto levels = static_cast<std::int64_t>(tokens.levels.size());
  check(levels >= 1, "catalog: the tokens have no levels");
  check(static_cast<std::int64_t>(tokens.codes.size()) % levels == 0, "catalog: ", tokens.codes.size(),
        " codes are no multiple of ", levels, " levels");
  for (std::size_t i = 0; i < tokens.codes.size(); ++i) {
    const auto level = static_cast<std::size_t>(static_cast<std::int64_t>(i) % levels);
    check(tokens.codes[i] >= -1 && tokens.codes[i] < tokens.levels[level].codes, "catalog: item ",
          static_cast<std::int64_t>(i) / levels, " has code ", tokens.codes[i], " on level '",
          tokens.levels[level].name, "', expected -1 .. ", tokens.levels[level].codes - 1);
  }
}

// Place of each item among those with the same codes: in item order, or most popular first.
std::vector<std::int32_t> place_in_group(std::span<const std::int32_t> codes, int levels,
                                         std::span<const std::int64_t> popularity) {
  auto order = order_by_codes(codes, levels);
  const auto shared = shared_prefixes(codes, levels, order);
  std::vector<std::int32_t> place(order.size(), 0);
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    for (end = begin + 1; end < order.size() && shared[end] == levels; ++end) {
    }
    if (!popularity.empty())
      std::stable_sort(order.begin() + static_cast<std::ptrdiff_t>(begin),
                       order.begin() + static_cast<std::ptrdiff_t>(end), [&](std::int32_t a, std::int32_t b) {
                         return popularity[static_cast<std::size_t>(a)] > popularity[static_cast<std::size_t>(b)];
                       });
    for (std::size_t i = begin; i < end; ++i)
      place[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(i - begin);
  }
  return place;
}

}  // namespace

CollisionPolicy parse_collision_policy(const std::string& name) {
  for (const auto& known : kPolicies)
    if (name == known.name) return known.policy;
  throw Error(str("catalog: collision policy '", name, "', expected none, counter, popularity or repair"));
}

const char* name_of(CollisionPolicy policy) {
  for (const auto& known : kPolicies)
    if (policy == known.policy) return known.name;
  return "unknown";
}

Catalog::Catalog(ItemTokens tokens, CollisionPolicy policy, std::span<const std::int64_t> popularity,
                 const Tensor& last_level_distances)
    : items_(tokens.items()),
      levels_(std::move(tokens.levels)),
      codes_(std::move(tokens.codes)),
      policy_(policy),
      item_vectors_(std::move(tokens.item_vectors)),
      user_vectors_(std::move(tokens.user_vectors)),
      token_vectors_(std::move(tokens.token_vectors)) {
  check_tokens({levels_, codes_, {}, {}, {}});
  check(policy != CollisionPolicy::popularity || static_cast<std::int64_t>(popularity.size()) == items_,
        "catalog: policy 'popularity' got ", popularity.size(), " training counts for ", items_, " items");
  if (policy == CollisionPolicy::repair) repair_collisions(codes_, levels(), last_level_distances);

  const bool by_rank = policy == CollisionPolicy::popularity;
  const auto place = place_in_group(codes_, levels(), by_rank ? popularity : std::span<const std::int64_t>());
  const std::int32_t top = place.empty() ? 0 : *std::max_element(place.begin(), place.end());
  unique_ = top == 0;
  if (by_rank || policy == CollisionPolicy::counter || (policy == CollisionPolicy::repair && !unique_)) {
    add_level({by_rank ? "rank" : "counter", top + 1, ""}, place);
    unique_ = true;
  }
  token_offset_.assign(1, 0);
  for (const TokenLevel& level : levels_) token_offset_.push_back(token_offset_.back() + level.codes);
  if (unique_) trie_ = Trie(codes_, levels());
  if (!token_vectors_) return;
  const Tensor known = std::move(token_vectors_);
  token_vectors_ = Tensor::zeros({this->tokens(), known.columns()}, known.dtype());
  check(known.shape().rank() == 2 && known.rows() <= this->tokens(), "catalog: token vectors ", known.shape().text(),
        " for ", this->tokens(), " tokens");
  token_vectors_.row_range(0, known.rows()).copy_from(known);
}

void Catalog::add_level(TokenLevel level, std::span<const std::int32_t> code) {
  const std::size_t width = levels_.size();
  std::vector<std::int32_t> wider;
  wider.reserve(codes_.size() + code.size());
  for (std::size_t i = 0; i < code.size(); ++i) {
    wider.insert(wider.end(), codes_.begin() + static_cast<std::ptrdiff_t>(i * width),
                 codes_.begin() + static_cast<std::ptrdiff_t>((i + 1) * width));
    wider.push_back(code[i]);
  }
  codes_ = std::move(wider);
  levels_.push_back(std::move(level));
}

std::span<const std::int32_t> Catalog::codes_of(std::int32_t item) const {
  if (item < 0 || item >= items_) throw Error(str("catalog: item ", item, " is outside 0 .. ", items_ - 1));
  return std::span<const std::int32_t>(codes_).subspan(static_cast<std::size_t>(item) * levels_.size(), levels_.size());
}

std::vector<std::int32_t> Catalog::tokens_of(std::span<const std::int32_t> items) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(items.size() * levels_.size());
  for (const std::int32_t item : items) {
    const auto codes = codes_of(item);
    for (std::size_t l = 0; l < codes.size(); ++l) tokens.push_back(codes[l] < 0 ? -1 : token_offset_[l] + codes[l]);
  }
  return tokens;
}

const Trie& Catalog::trie() const {
  if (!unique_)
    throw Error(str("catalog: identifiers are not unique under the policy '", name_of(policy_),
                    "', so there is no trie; use counter, popularity or repair"));
  return trie_;
}

}  // namespace tessera
