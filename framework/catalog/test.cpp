#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "framework/catalog/catalog.h"
#include "framework/catalog/index_file.h"
#include "framework/catalog/repair.h"
#include "tensor/core/random.h"

namespace tessera {
namespace {

std::vector<std::int32_t> random_codes(std::int64_t items, int levels, int codes, std::uint64_t seed) {
  Random random(seed, 0);
  std::vector<std::int32_t> out(static_cast<std::size_t>(items * levels));
  for (auto& code : out) code = static_cast<std::int32_t>(random.below(codes + 1)) - 1;  // -1 too
  return out;
}

ItemTokens make_tokens(std::vector<std::int32_t> codes, int levels, int size) {
  ItemTokens tokens;
  for (int l = 0; l < levels; ++l) tokens.levels.push_back({str("text/", l), size, "text"});
  tokens.codes = std::move(codes);
  return tokens;
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST(Trie, WalksToEveryItemAndToNothingElse) {
  const int levels = 3;
  std::set<std::vector<std::int32_t>> rows;
  const auto draw = random_codes(400, levels, 6, 1);
  for (std::size_t i = 0; i < 400; ++i) rows.insert({draw.begin() + 3 * i, draw.begin() + 3 * i + 3});
  std::vector<std::vector<std::int32_t>> items(rows.begin(), rows.end());
  Random random(2, 0);
  random.shuffle(std::span(items));
  std::vector<std::int32_t> codes;
  for (const auto& row : items) codes.insert(codes.end(), row.begin(), row.end());
  const Trie trie(codes, levels);

  for (int depth = 0; depth <= levels; ++depth) {
    std::set<std::vector<std::int32_t>> prefixes;
    for (const auto& row : items) prefixes.insert({row.begin(), row.begin() + depth});
    EXPECT_EQ(trie.nodes_at(depth), static_cast<std::int32_t>(prefixes.size())) << depth;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::int32_t node = trie.root();
    for (const auto code : items[i]) {
      EXPECT_EQ(trie.item_of(node), -1);
      node = trie.child(node, code);
      ASSERT_GE(node, 0);
    }
    EXPECT_EQ(trie.item_of(node), static_cast<std::int32_t>(i));
    EXPECT_EQ(trie.leaf_of(static_cast<std::int32_t>(i)), node);
    EXPECT_TRUE(trie.children(node).code.empty());
  }
  std::int32_t reached = 1;
  for (std::int32_t node = 0; node < trie.nodes(); ++node) {
    const auto list = trie.children(node);
    EXPECT_TRUE(std::is_sorted(list.code.begin(), list.code.end()));
    for (std::size_t c = 0; c < list.code.size(); ++c)
      EXPECT_EQ(trie.child(node, list.code[c]), list.first + static_cast<int>(c));
    reached += static_cast<std::int32_t>(list.code.size());
    EXPECT_EQ(trie.child(node, 77), -1);
  }
  EXPECT_EQ(reached, trie.nodes());
}

TEST(Trie, OneItemAndNone) {
  const Trie one(std::vector<std::int32_t>{5, -1}, 2);
  EXPECT_EQ(one.nodes(), 3);
  EXPECT_EQ(one.item_of(one.child(one.child(0, 5), -1)), 0);
  const Trie none(std::vector<std::int32_t>{}, 2);
  EXPECT_EQ(none.nodes(), 1);
  EXPECT_TRUE(none.children(0).code.empty());
}

TEST(Trie, ErrorsSayWhat) {
  EXPECT_EQ(error_of([] {
              Trie(std::vector<std::int32_t>{1, 2, 3, 4, 1, 2}, 2);
            }),
            "trie: items 0 and 2 have the same codes (1, 2); identifiers must differ: use the policy counter, "
            "popularity or repair");
  EXPECT_EQ(error_of([] { Trie(std::vector<std::int32_t>{1, 2, 3}, 2); }), "trie: 3 codes are no multiple of 2 levels");
  const Trie trie(std::vector<std::int32_t>{1, 2}, 1);
  EXPECT_EQ(error_of([&] { trie.children(3); }), "trie: node 3 is outside 0 .. 2");
  EXPECT_EQ(error_of([&] { trie.leaf_of(2); }), "trie: item 2 is outside 0 .. 1");
  EXPECT_EQ(error_of([&] { trie.nodes_at(2); }), "trie: depth 2 is outside 0 .. 1");
}

TEST(Catalog, NoneKeepsCollisions) {
  const Catalog catalog(make_tokens({0, 1, 0, 1, 1, 1}, 2, 3), CollisionPolicy::none, {});
  EXPECT_EQ(catalog.levels(), 2);
  EXPECT_FALSE(catalog.unique());
  EXPECT_EQ(error_of([&] { catalog.trie(); }),
            "catalog: identifiers are not unique under the policy 'none', so there is no trie; use counter, popularity "
            "or repair");
  EXPECT_TRUE(Catalog(make_tokens({0, 1, 0, 2}, 2, 3), CollisionPolicy::none, {}).unique());
}

TEST(Catalog, CounterNumbersAGroupInItemOrder) {
  const Catalog catalog(make_tokens({0, 1, 1, 1, 0, 1, 0, 1}, 2, 3), CollisionPolicy::counter, {});
  EXPECT_EQ(catalog.levels(), 3);
  EXPECT_EQ(catalog.level(2).name, "counter");
  EXPECT_EQ(catalog.level(2).codes, 3);
  EXPECT_EQ(std::vector<std::int32_t>(catalog.codes().begin(), catalog.codes().end()),
            (std::vector<std::int32_t>{0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 2}));
  EXPECT_EQ(catalog.trie().nodes_at(3), 4);
  EXPECT_EQ(catalog.tokens(), 3 + 3 + 3);
  EXPECT_EQ(catalog.tokens_of(std::vector<std::int32_t>{3, 1}), (std::vector<std::int32_t>{0, 4, 8, 1, 4, 6}));
}

TEST(Catalog, PopularityRanksAGroup) {
  const std::vector<std::int64_t> popularity{5, 9, 7, 7};
  const Catalog catalog(make_tokens({0, 0, 0, 0}, 1, 1), CollisionPolicy::popularity, popularity);
  EXPECT_EQ(catalog.level(1).name, "rank");
  std::vector<std::int32_t> ranks;
  for (int i = 0; i < 4; ++i) ranks.push_back(catalog.codes_of(i)[1]);
  EXPECT_EQ(ranks, (std::vector<std::int32_t>{3, 0, 1, 2}));
}

TEST(Catalog, EveryPolicyButNoneIsUnique) {
  const std::int64_t items = 500;
  const auto codes = random_codes(items, 2, 5, 3);
  std::vector<std::int64_t> popularity(static_cast<std::size_t>(items));
  std::iota(popularity.begin(), popularity.end(), 0);
  Tensor distances({items, 5});
  fill_uniform(distances, 0.0, 1.0, 4, 0);
  for (const auto policy : {CollisionPolicy::counter, CollisionPolicy::popularity, CollisionPolicy::repair}) {
    const Catalog catalog(make_tokens(codes, 2, 5), policy, popularity, distances);
    EXPECT_TRUE(catalog.unique()) << name_of(policy);
    EXPECT_EQ(catalog.trie().nodes_at(catalog.levels()), items) << name_of(policy);
    EXPECT_EQ(parse_collision_policy(name_of(policy)), policy);
  }
}

TEST(Catalog, AbsentCodesHaveNoToken) {
  const Catalog catalog(make_tokens({-1, 2}, 2, 3), CollisionPolicy::none, {});
  EXPECT_EQ(catalog.tokens_of(std::vector<std::int32_t>{0}), (std::vector<std::int32_t>{-1, 5}));
}

TEST(Catalog, ErrorsSayWhat) {
  EXPECT_EQ(error_of([] { parse_collision_policy("count"); }),
            "catalog: collision policy 'count', expected none, counter, popularity or repair");
  EXPECT_EQ(error_of([] {
              Catalog(make_tokens({0, 3}, 2, 3), CollisionPolicy::none, {});
            }),
            "catalog: item 0 has code 3 on level 'text/1', expected -1 .. 2");
  EXPECT_EQ(error_of([] {
              Catalog(make_tokens({0, 1}, 1, 3), CollisionPolicy::popularity, {});
            }),
            "catalog: policy 'popularity' got 0 training counts for 2 items");
  EXPECT_EQ(error_of([] {
              Catalog(make_tokens({0, 1}, 1, 3), CollisionPolicy::repair, {});
            }),
            "catalog: policy 'repair' needs the distances to the last codebook, which this tokenizer does not offer; "
            "use counter or popularity");
  EXPECT_EQ(error_of([] {
              Catalog(make_tokens({0, 1}, 1, 3), CollisionPolicy::none, {}).codes_of(2);
            }),
            "catalog: item 2 is outside 0 .. 1");
  EXPECT_EQ(error_of([] { Catalog({}, CollisionPolicy::none, {}); }), "catalog: the tokens have no levels");
}

TEST(Repair, AssignmentIsTheCheapestOfAll) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed, 0);
    const int rows = 1 + static_cast<int>(random.below(5)), columns = rows + static_cast<int>(random.below(3));
    std::vector<double> cost(static_cast<std::size_t>(rows * columns));
    for (auto& c : cost) c = random.uniform();
    const auto total = [&](const std::vector<std::int32_t>& column) {
      double sum = 0;
      for (int r = 0; r < rows; ++r)
        sum += cost[static_cast<std::size_t>(r * columns + column[static_cast<std::size_t>(r)])];
      return sum;
    };
    std::vector<std::int32_t> order(static_cast<std::size_t>(columns));
    std::iota(order.begin(), order.end(), 0);
    double best = 1e9;
    do best = std::min(best, total(order));
    while (std::next_permutation(order.begin(), order.end()));
    const auto found = assign(cost, rows, columns);
    EXPECT_EQ(std::set<std::int32_t>(found.begin(), found.end()).size(), static_cast<std::size_t>(rows));
    EXPECT_NEAR(total(found), best, 1e-12) << "seed " << seed;
  }
}

TEST(Repair, MovesOnlyCollidingItemsToTheNearestFreeCodes) {
  // Prefix 0: items 0 and 1 collide on code 2, item 2 holds code 1 alone. Prefix 1: item 3 is alone.
  std::vector<std::int32_t> codes{0, 2, 0, 2, 0, 1, 1, 2};
  const Tensor distances = Tensor::from<float>({5, 0.5f, 1, 4,     //
                                                6, 0.1f, 2, 2.5f,  //
                                                9, 9, 9, 9,        //
                                                0, 0, 9, 0},
                                               {4, 4});
  EXPECT_EQ(repair_collisions(codes, 2, distances), 1);
  EXPECT_EQ(codes, (std::vector<std::int32_t>{0, 2, 0, 3, 0, 1, 1, 2}));  // code 1 is nearer but held
}

TEST(Repair, WhatDoesNotFitGetsACounter) {
  const Tensor distances = Tensor::zeros({5, 2});
  const Catalog catalog(make_tokens({0, 0, 0, 0, 1}, 1, 2), CollisionPolicy::repair, {}, distances);
  EXPECT_EQ(catalog.levels(), 2);
  EXPECT_EQ(catalog.level(1).name, "counter");
  EXPECT_TRUE(catalog.unique());
  const Catalog fits(make_tokens({0, 0}, 1, 2), CollisionPolicy::repair, {}, Tensor::zeros({2, 2}));
  EXPECT_EQ(fits.levels(), 1);
}

TEST(Repair, ErrorsSayWhat) {
  std::vector<std::int32_t> codes{0, 0};
  EXPECT_EQ(error_of([&] {
              repair_collisions(codes, 1, Tensor::zeros({3, 2}));
            }),
            "catalog: policy 'repair' got distances (3, 2) for 2 items");
  EXPECT_EQ(error_of([&] {
              repair_collisions(codes, 1, Tensor::full({2, 2}, NAN));
            }),
            "catalog: policy 'repair' got a distance of nan");
}

TEST(IndexFile, NamesLevelsByLetters) {
  Items items;
  items.ids = {"B00\"1", "B002"};
  const Catalog catalog(make_tokens({12, 3, 12, -1}, 2, 20), CollisionPolicy::none, {});
  EXPECT_EQ(index_json(items, catalog), "{\n  \"B00\\\"1\": [\"<a_12>\", \"<b_3>\"],\n  \"B002\": [\"<a_12>\"]\n}\n");
}

}  // namespace tessera
