#ifndef TESSERA_IMAGE_LACKS
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <set>

#include "framework/data/interaction_rows.h"
#include "framework/data/text.h"
#include "plugins/image/testing.h"

namespace tessera {
namespace {

std::vector<std::set<std::string>> genres_of(const Items& items) {
  std::vector<std::set<std::string>> out;
  for (const auto& text : items.fields.at("genres")) {
    auto& genres = out.emplace_back();
    for (auto part : split_at(text, ',')) {
      while (part.starts_with(' ')) part.remove_prefix(1);
      if (!part.empty()) genres.emplace(part);
    }
  }
  return out;
}

double overlap(const std::set<std::string>& a, const std::set<std::string>& b) {  // Jaccard
  std::int64_t both = 0;
  for (const auto& genre : a) both += b.contains(genre);
  return static_cast<double>(both) / static_cast<double>(std::max<std::size_t>(1, a.size() + b.size() - both));
}

// Mean overlap of an item's genres with those of its ten nearest neighbours by cosine, and with any item's.
std::pair<double, double> neighbour_overlap(const ItemFeatures& features,
                                            const std::vector<std::set<std::string>>& genres) {
  std::vector<std::size_t> items;
  for (std::size_t i = 0; i < genres.size(); ++i)
    if (features.present[i] != 0) items.push_back(i);
  const auto width = static_cast<std::size_t>(features.width());
  const float* x = features.values.data<float>();
  const auto dot = [&](std::size_t a, std::size_t b) {
    double sum = 0;
    for (std::size_t d = 0; d < width; ++d) sum += static_cast<double>(x[a * width + d]) * x[b * width + d];
    return sum;
  };
  double near = 0, any = 0;
  for (const std::size_t a : items) {
    std::vector<std::pair<double, std::size_t>> others;
    for (const std::size_t b : items) {
      if (a == b) continue;
      others.emplace_back(-dot(a, b) / std::sqrt(dot(b, b)), b);
      any += overlap(genres[a], genres[b]) / static_cast<double>(items.size() - 1);
    }
    std::partial_sort(others.begin(), others.begin() + 10, others.end());
    for (int k = 0; k < 10; ++k) near += overlap(genres[a], genres[others[static_cast<std::size_t>(k)].second]) / 10.0;
  }
  return {near / static_cast<double>(items.size()), any / static_cast<double>(items.size())};
}

}  // namespace

// Real posters: the README's figures come from here.
TEST(ImagePosters, NeighboursShareGenres) {
  const auto folder = shared_data(TESSERA_SOURCE_DIR, "ml100k_mm");
  if (!folder) GTEST_SKIP() << "no shared data; set TESSERA_SHARED_DATA";
  Dataset data;
  data.name = "ml100k";
  data.files["image"] = *folder + "/posters";
  IdIndex index;
  Rejects rejects;
  data.items = read_item_lines(*folder + "/items.jsonl", index, rejects);
  const char* options = std::getenv("TESSERA_IMAGE_OPTIONS");  // to try settings
  const auto plugin = image_testing::featurizer(options != nullptr ? options : "");
  FitContext context;
  context.say = [](const std::string& line) { std::cout << line << '\n'; };
  const auto begin = std::chrono::steady_clock::now();
  plugin->fit(data, context);
  const ItemFeatures features = plugin->features(data);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(std::count(features.present.begin(), features.present.end(), 1), 1663);
  const auto [near, any] = neighbour_overlap(features, genres_of(data.items));
  std::cout << "fit and vectors " << spent.count() << " s; genre overlap with ten nearest neighbours " << near
            << ", with any item " << any << '\n';
  EXPECT_GT(near, 1.2 * any);
}

}  // namespace tessera
#endif
