#include "framework/catalog/filters.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace tessera {
namespace {

Items shop() {
  Items items;
  items.ids = {"a1", "a2", "b1", "b2"};
  items.fields["brand"] = {"acme", "acme", "other", "acme"};
  items.fields["colour"] = {"red", "blue", "red", "red"};
  return items;
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

std::string write_temporary(const std::string& text) {
  const std::string path = testing::TempDir() + "tessera_filter_ids.txt";
  std::ofstream(path) << text;
  return path;
}

}  // namespace

TEST(Filters, ByFieldValueAndTogether) {
  ItemMask mask = items_with(shop(), "brand", "acme");
  EXPECT_EQ(mask, (ItemMask{1, 1, 0, 1}));
  restrict_mask(mask, {});
  EXPECT_EQ(mask, (ItemMask{1, 1, 0, 1}));
  restrict_mask(mask, items_with(shop(), "colour", "red"));
  EXPECT_EQ(mask, (ItemMask{1, 0, 0, 1}));
}

TEST(Filters, ByAFileOfIds) {
  const std::string path = write_temporary("b1\n\n  a2\t\r\nb1\n");
  EXPECT_EQ(items_of_file(shop(), path), (ItemMask{0, 1, 1, 0}));
  std::remove(path.c_str());
}

TEST(Filters, ErrorsSayWhat) {
  EXPECT_EQ(error_of([] { items_with(shop(), "bran", "acme"); }),
            "filter: items have no field 'bran'; they have: brand, colour; did you mean 'brand'?");
  EXPECT_EQ(error_of([] { items_with(shop(), "brand", "acne"); }), "filter: no item has brand = 'acne'");
  EXPECT_EQ(error_of([] { items_of_file(shop(), "/nowhere/ids.txt"); }),
            "filter: cannot open '/nowhere/ids.txt', expected a file with one item id a line");
  EXPECT_EQ(error_of([] {
              ItemMask mask{1};
              restrict_mask(mask, ItemMask{1, 0});
            }),
            "filter: masks of 1 and 2 items do not fit each other");
  const std::string path = write_temporary("a1\nzz\n");
  const std::string text = error_of([&] { items_of_file(shop(), path); });
  EXPECT_NE(text.find(path + ":2: item 'zz' is not in the catalogue"), std::string::npos) << text;
  std::remove(path.c_str());
}

TEST(Filters, OpenNodesLeadToAllowedItemsAlone) {
  const Trie trie(std::vector<std::int32_t>{0, 0, 0, 1, 1, 0}, 2);  // items 0 and 1 share code 0
  const auto all = open_nodes(trie, {});
  EXPECT_EQ(all, std::vector<std::uint8_t>(static_cast<std::size_t>(trie.nodes()), 1));
  const auto open = open_nodes(trie, ItemMask{0, 1, 0});
  EXPECT_TRUE(open[0]);
  EXPECT_TRUE(open[static_cast<std::size_t>(trie.child(0, 0))]);
  EXPECT_FALSE(open[static_cast<std::size_t>(trie.child(0, 1))]);
  EXPECT_FALSE(open[static_cast<std::size_t>(trie.leaf_of(0))]);
  EXPECT_TRUE(open[static_cast<std::size_t>(trie.leaf_of(1))]);
  EXPECT_EQ(open_nodes(trie, ItemMask{0, 0, 0}), std::vector<std::uint8_t>(static_cast<std::size_t>(trie.nodes()), 0));
  EXPECT_EQ(error_of([&] { open_nodes(trie, ItemMask{1}); }), "filter: a mask of 1 items for a trie of 3");
}

}  // namespace tessera
