// Amazon's reviews and metadata as JSON lines, with the field names of 2014, 2018 and 2023.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "framework/data/interaction_rows.h"
#include "framework/data/json.h"
#include "framework/data/text.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/data_source.h"
#include "plugins/amazon/python_literal.h"

namespace tessera {
namespace {

struct Options {
  std::string path, metadata;
  std::int64_t core = 5;
  LabelRule labels;
  template <class V>
  void describe(V& v) {
    v("path", path, "reviews, one JSON object a line");
    v("metadata", metadata, "metadata of items, one JSON object (or Python literal, as in 2014) a line; empty: none");
    v("core", core, "users and items with fewer reviews are dropped until none is left; 1: keep all", 1, 1000);
    labels.describe(v);
  }
};

const JsonValue* first_of(const JsonValue& object, std::initializer_list<std::string_view> names) {
  for (const auto name : names)
    if (const JsonValue* found = object.find(name)) return found;
  return nullptr;
}

class AmazonSource : public DataSource {
 public:
  explicit AmazonSource(Options options) : options_(std::move(options)) {}

  Dataset load(Rejects& rejects, FitContext& context) override {
    Dataset data;
    data.name = std::filesystem::path(options_.path).stem().string();
    IdIndex users, items;
    std::vector<InteractionRow> rows = read_reviews(users, items, rejects);
    const auto all = rows.size();
    const Core core = keep_core(rows, users.size(), items.size(), options_.core);
    if (rows.empty())
      throw DataError(str(options_.path, ": of ", all, " reviews none is left when users and items with fewer than ",
                          options_.core, " are dropped; lower `core`"));
    for (const std::int32_t user : core.users) data.user_ids.push_back(users.ids()[static_cast<std::size_t>(user)]);
    for (const std::int32_t item : core.items) data.items.ids.push_back(items.ids()[static_cast<std::size_t>(item)]);
    InteractionColumns columns{.time = true, .rating = true};
    options_.labels.apply(options_.path, rows, columns);
    data.interactions = interactions_of(rows, static_cast<std::int64_t>(data.user_ids.size()), columns);
    if (!options_.metadata.empty()) read_metadata(data.items, rejects, context);
    context.say(str(options_.path, ": ", all, " reviews; ", options_.core, "-core: ", data.users(), " users, ",
                    data.item_count(), " items, ", data.interactions.size(), " interactions"));
    return data;
  }

 private:
  std::vector<InteractionRow> read_reviews(IdIndex& users, IdIndex& items, Rejects& rejects) const {
    std::vector<InteractionRow> rows;
    JsonLines lines(options_.path, rejects);
    JsonValue review;
    while (lines.next(review)) {
      const JsonValue* user = first_of(review, {"reviewerID", "user_id"});
      const JsonValue* item = first_of(review, {"parent_asin", "asin"});
      const JsonValue* rating = first_of(review, {"overall", "rating"});
      const JsonValue* time = first_of(review, {"unixReviewTime", "timestamp"});
      const auto reject = [&](const std::string& problem) { rejects.add(options_.path, lines.number(), problem); };
      if (user == nullptr || user->flat().empty()) reject("has no 'reviewerID' (2014, 2018) or 'user_id' (2023)");
      else if (item == nullptr || item->flat().empty()) reject("has no 'asin' or 'parent_asin'");
      else if (rating == nullptr || !is_number(*rating))
        reject("'overall' or 'rating' is missing or no number; expected 1 .. 5");
      else if (time == nullptr || !is_number(*time)) reject("'unixReviewTime' or 'timestamp' is missing or no number");
      else {
        InteractionRow row;
        row.user = users.add(user->flat());
        row.item = items.add(item->flat());
        row.rating = static_cast<float>(parse_number(rating->text).value_or(0.0));
        const double seconds = parse_number(time->text).value_or(0.0);
        row.time = std::llround(std::abs(seconds) > 1e11 ? seconds / 1000.0 : seconds);  // 2023 counts milliseconds
        rows.push_back(row);
      }
    }
    rejects.finish();
    return rows;
  }

  static bool is_number(const JsonValue& value) {
    const auto number = parse_number(value.text);
    return (value.kind == JsonValue::Kind::number || value.kind == JsonValue::Kind::text) && number &&
           std::abs(*number) < 9e15;
  }

  void read_metadata(Items& items, Rejects& rejects, FitContext& context) const {
    IdIndex index;
    for (const auto& id : items.ids) index.add(id);
    items.titles.resize(items.ids.size());
    for (const char* field : {"categories", "brand", "price", "description", "features", "image"})
      items.fields[field].resize(items.ids.size());
    std::vector<bool> found(items.ids.size());
    LineReader lines(options_.metadata);
    JsonParser parser;
    std::string_view line;
    std::string problem;
    std::int64_t described = 0;
    while (lines.next(line)) {
      if (split_words(line).empty()) continue;
      auto object = parser.parse(line, problem);
      if (!object) {
        std::string ignored;
        if (const auto json = json_of_python(line)) object = parser.parse(*json, ignored);
      }
      const JsonValue* id = object ? first_of(*object, {"parent_asin", "asin"}) : nullptr;
      const std::string id_text = id != nullptr ? id->flat() : "";
      if (id_text.empty()) {
        rejects.add(options_.metadata, lines.number(), object ? "has no 'asin' or 'parent_asin'" : problem);
        continue;
      }
      const std::int32_t item = index.find(id_text);
      if (item < 0) continue;  // nobody of the core reviewed it
      if (found[static_cast<std::size_t>(item)]) {
        rejects.add(options_.metadata, lines.number(),
                    str("the item ", in_quotes(id_text), " is on a line before it too"));
        continue;
      }
      found[static_cast<std::size_t>(item)] = true;
      ++described;
      take_fields(*object, static_cast<std::size_t>(item), items);
    }
    rejects.finish();
    context.say(str(options_.metadata, ": ", described, " of ", items.size(), " items are described"));
  }

  static void take_fields(const JsonValue& object, std::size_t item, Items& items) {
    const auto text = [&](std::initializer_list<std::string_view> names) {
      const JsonValue* value = first_of(object, names);
      return value != nullptr ? value->flat() : std::string();
    };
    items.titles[item] = text({"title"});
    items.fields["categories"][item] = text({"categories", "category", "main_category", "main_cat"});
    items.fields["brand"][item] = text({"brand", "store"});
    items.fields["price"][item] = text({"price"});
    items.fields["description"][item] = text({"description"});
    items.fields["features"][item] = text({"features", "feature"});
    items.fields["image"][item] = image_of(object);
  }

  // The first image's address: imUrl (2014), imageURLHighRes or imageURL (2018), images[0].large (2023).
  static std::string image_of(const JsonValue& object) {
    const JsonValue* image = first_of(object, {"imUrl", "imageURLHighRes", "imageURL", "images"});
    while (image != nullptr && image->kind == JsonValue::Kind::list)
      image = image->list.empty() ? nullptr : &image->list[0];
    if (image != nullptr && image->kind == JsonValue::Kind::object)
      image = first_of(*image, {"large", "hi_res", "thumb"});
    return image != nullptr ? image->flat() : "";
  }

  Options options_;
};

std::unique_ptr<DataSource> make(const Options& options, const Section& section) {
  if (options.path.empty()) section.fail("path", "path is missing; expected a file of reviews, one JSON object a line");
  return std::make_unique<AmazonSource>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "Amazon's reviews and metadata", [](tessera::Registry& registry) {
  registry.add<tessera::DataSource, tessera::Options>(
      "amazon", "Amazon's reviews and metadata as JSON lines (2014, 2018, 2023)", tessera::make);
});
