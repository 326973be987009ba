// A made world with known truth: README.md has its formula.
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "framework/checkpoint/json.h"
#include "framework/data/interaction_rows.h"
#include "framework/data/npy.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/data_source.h"
#include "plugins/synthetic/picture.h"
#include "plugins/synthetic/vectors.h"
#include "plugins/synthetic/words.h"
#include "plugins/synthetic/world.h"
#include "tensor/core/parallel.h"

namespace tessera {
namespace {

using namespace synthetic;

struct Options : WorldOptions {
  std::string images, vectors, write;
  int image_size = 32;
  LabelRule labels;
  template <class V>
  void describe(V& v) {
    v("seed", seed, "seed of the world; a run's own seed does not change it", 0, 1LL << 62);
    v("users", users, "users", 1, 2'000'000'000);
    v("items", items, "items of the catalogue", 20, 100'000'000);
    v("categories", categories, "leaves of the tree of categories", 2, 1'000'000);
    v("min_length", min_length, "fewest interactions of a user", 1, 10'000);
    v("max_length", max_length, "most interactions of a user", 1, 10'000);
    v("zipf", zipf, "exponent of popularity within a category", 0.0, 3.0);
    v("drift", drift, "chance that an interest is replaced when a session begins", 0.0, 1.0);
    v("noise", noise, "share of choices by popularity alone", 0.01, 1.0);
    v("cold", cold, "share of items that nobody has met", 0.0, 0.9);
    v("missing", missing, "share of items without text, and (independently) without image", 0.0, 1.0);
    labels.describe(v);
    v("images", images, "folder to write PNG images into; empty: none");
    v("image_size", image_size, "width and height of an image", 8, 1024);
    v("vectors", vectors, "folder to write text.npy and image.npy into: vectors with known causes; empty: none");
    v("kinds", kinds, "vectors: values of each modality's private cause", 1, 1000);
    v("vector_noise", vector_noise, "vectors: deviation of the noise; causes have about 1", 0.0, 100.0);
    v("write", write,
      "folder to write the whole world into as `sequences` files, streamed; load() then gives the first 1000 users");
  }
};

class SyntheticSource : public DataSource {
 public:
  explicit SyntheticSource(Options options) : options_(std::move(options)) {}

  Dataset load(Rejects&, FitContext& context) override {
    const World world(options_);
    Dataset data;
    data.name = "synthetic";
    describe_items(world, data.items);
    if (!options_.images.empty()) write_images(world, data.items, context);
    if (!options_.vectors.empty()) write_vectors(world, data, context);
    std::int64_t users = options_.users;
    if (!options_.write.empty()) {
      write_files(world, context);
      users = std::min<std::int64_t>(users, 1000);
      context.say(str("the whole world stands in ", options_.write, "; kept in memory: the first ", users, " users"));
    }
    add_users(world, users, data, context);
    if (options_.labels.wanted())
      for (const float rating : data.interactions.rating)
        data.interactions.label.push_back(options_.labels.label(static_cast<double>(rating)));
    return data;
  }

 private:
  void describe_items(const World& world, Items& items) const {
    const auto n = static_cast<std::size_t>(options_.items);
    items.ids.resize(n);
    items.titles.resize(n);
    auto &category = items.fields["category"], &brand = items.fields["brand"],
         &description = items.fields["description"];
    for (auto* column : {&category, &brand, &description}) column->resize(n);
    parallel_rows(options_.items, 1024, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const auto at = static_cast<std::size_t>(i);
        items.ids[at] = std::to_string(i + 1);
        const auto item = static_cast<std::int32_t>(i);
        if (world.lacks(item, "synthetic/no_text")) continue;
        ItemText text = describe(world, item);
        items.titles[at] = std::move(text.title);
        category[at] = std::move(text.category);
        brand[at] = std::move(text.brand);
        description[at] = std::move(text.description);
      }
    });
  }

  std::string image_path(std::int32_t item) const { return str(options_.images, "/", item + 1, ".png"); }

  // Field "image": the path of an item's picture, empty where it has none.
  void write_images(const World& world, Items& items, FitContext& context) const {
    make_folder(options_.images);
    auto& field = items.fields["image"];
    field.resize(static_cast<std::size_t>(options_.items));
    parallel_rows(options_.items, 256, [&](std::int64_t begin, std::int64_t end) {
      for (auto item = static_cast<std::int32_t>(begin); item < end; ++item) {
        if (world.lacks(item, "synthetic/no_image")) continue;
        field[static_cast<std::size_t>(item)] = image_path(item);
        write_picture(world, item, options_.image_size, image_path(item));
      }
    });
    context.say(str(options_.images, ": images of ", options_.image_size, " x ", options_.image_size, " pixels"));
  }

  // text.npy and image.npy, named as the files of their modalities; the causes stand in the fields category_number,
  // kind_text and kind_image.
  void write_vectors(const World& world, Dataset& data, FitContext& context) const {
    make_folder(options_.vectors);
    auto& category = data.items.fields["category_number"];
    for (std::int32_t item = 0; item < options_.items; ++item) category.push_back(std::to_string(world.category(item)));
    for (const char* modality : {"text", "image"}) {
      data.files[modality] = str(options_.vectors, "/", modality, ".npy");
      write_npy(data.files[modality], vectors_of(world, modality));
      auto& kind = data.items.fields[str("kind_", modality)];
      for (std::int32_t item = 0; item < options_.items; ++item)
        kind.push_back(std::to_string(world.kind(item, modality)));
    }
    context.say(str(options_.vectors, ": vectors of ", kVectorWidth, " numbers, text and image"));
  }

  // Calls take(tile, user, events, items that were likelier than the last) for blocks of users in parallel, and
  // done(tiles) after each block, so that memory holds one block.
  template <class Take, class Done>
  void for_users(const World& world, std::int64_t users, FitContext& context, Take&& take, Done&& done) const {
    constexpr std::int64_t kTile = 256, kTiles = 64;
    for (std::int64_t first = 0; first < users; first += kTile * kTiles) {
      if (context.stop()) throw Stopped("synthetic: stopped while users were made");
      const std::int64_t last = std::min(first + kTile * kTiles, users);
      parallel_rows(last - first, kTile, [&](std::int64_t begin, std::int64_t end) {
        std::vector<Event> events;
        for (std::int64_t user = first + begin; user < first + end; ++user) {
          const std::int64_t likelier = world.user(user, events);
          take(static_cast<std::size_t>(begin / kTile), user, events, likelier);
        }
      });
      done((last - first + kTile - 1) / kTile);
      context.progress(static_cast<double>(last) / static_cast<double>(users), "users");
    }
  }

  void add_users(const World& world, std::int64_t users, Dataset& data, FitContext& context) const {
    struct Made {
      std::vector<std::int64_t> length;
      std::vector<Event> events;
      std::int64_t asked = 0, found = 0;
    };
    std::vector<Made> made(64);
    std::int64_t asked = 0, found = 0;
    const auto take = [&](std::size_t tile, std::int64_t, const std::vector<Event>& events, std::int64_t likelier) {
      Made& mine = made[tile];
      mine.length.push_back(static_cast<std::int64_t>(events.size()));
      mine.events.insert(mine.events.end(), events.begin(), events.end());
      if (events.size() < 3) return;
      ++mine.asked;
      mine.found += likelier < 10;
    };
    Interactions& rows = data.interactions;
    const auto done = [&](std::int64_t tiles) {
      for (std::int64_t t = 0; t < tiles; ++t) {
        Made& mine = made[static_cast<std::size_t>(t)];
        for (const std::int64_t length : mine.length) {
          rows.offset.push_back(rows.offset.back() + length);
          data.user_ids.push_back(std::to_string(data.user_ids.size() + 1));
        }
        for (const Event& event : mine.events) {
          rows.item.push_back(event.item);
          rows.time.push_back(event.time);
          rows.rating.push_back(event.rating);
        }
        asked += mine.asked;
        found += mine.found;
        mine = Made();
      }
    };
    for_users(world, users, context, take, done);
    if (asked > 0) data.oracle_recall_at_10 = static_cast<double>(found) / static_cast<double>(asked);
  }

  void write_files(const World& world, FitContext& context) const {
    make_folder(options_.write);
    std::ofstream items = open(options_.write + "/items.jsonl");
    for (std::int32_t item = 0; item < options_.items; ++item) items << item_line(world, item);
    close(items, options_.write + "/items.jsonl");
    std::ofstream sequences = open(options_.write + "/sequences.txt");
    std::vector<std::string> lines(64);
    const auto take = [&](std::size_t tile, std::int64_t user, const std::vector<Event>& events, std::int64_t) {
      std::string& text = lines[tile];
      text += std::to_string(user + 1);
      for (const Event& event : events) (text += ' ') += std::to_string(event.item + 1);
      text += '\n';
    };
    const auto done = [&](std::int64_t tiles) {
      for (std::int64_t t = 0; t < tiles; ++t) {
        sequences << lines[static_cast<std::size_t>(t)];
        lines[static_cast<std::size_t>(t)].clear();
      }
      check(static_cast<bool>(sequences), "synthetic: ", options_.write,
            "/sequences.txt could not be written: ", std::strerror(errno));
    };
    for_users(world, options_.users, context, take, done);
    close(sequences, options_.write + "/sequences.txt");
  }

  std::string item_line(const World& world, std::int32_t item) const {
    std::string line = str("{\"id\": ", item + 1);
    if (!world.lacks(item, "synthetic/no_text")) {
      const ItemText text = describe(world, item);
      line += str(", \"title\": ", json_text(text.title), ", \"category\": ", json_text(text.category),
                  ", \"brand\": ", json_text(text.brand), ", \"description\": ", json_text(text.description));
    }
    if (!options_.images.empty() && !world.lacks(item, "synthetic/no_image"))
      line += str(", \"image\": ", json_text(image_path(item)));
    return line + "}\n";
  }

  static void make_folder(const std::string& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    check(!error, "synthetic: the folder ", folder, " cannot be made: ", error.message());
  }
  static std::ofstream open(const std::string& path) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    check(static_cast<bool>(file), "synthetic: ", path, " cannot be written: ", std::strerror(errno));
    return file;
  }
  static void close(std::ofstream& file, const std::string& path) {
    file.close();
    check(static_cast<bool>(file), "synthetic: ", path, " could not be written to its end: ", std::strerror(errno));
  }

  Options options_;
};

std::unique_ptr<DataSource> make(const Options& options, const Section& section) {
  if (options.max_length < options.min_length)
    section.fail("max_length", str("max_length is ", options.max_length, ", below min_length, ", options.min_length));
  const auto warm = static_cast<std::int64_t>((1.0 - options.cold) * static_cast<double>(options.items));
  if (options.categories > options.items)
    section.fail("categories", str("categories is ", options.categories, ", more than the ", options.items, " items"));
  if (warm < 2 * options.max_length)
    section.fail("items", str("items is ", options.items, ", of which ", warm,
                              " are not cold; users meet no item twice, so expected ", 2 * options.max_length,
                              " or more (twice max_length)"));
  return std::make_unique<SyntheticSource>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "a generated multi-modal world with known truth", [](tessera::Registry& registry) {
  registry.add<tessera::DataSource, tessera::Options>(
      "synthetic", "a generated world: items with text and images, users with drifting tastes", tessera::make);
});
