// RecBole's atomic files: NAME.inter, and NAME.item where there is one; or NAME.train.inter, NAME.valid.inter,
// NAME.test.inter.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "framework/data/interaction_rows.h"
#include "framework/data/table.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string path, name, user = "user_id", item = "item_id", time = "timestamp", rating = "rating", label = "label";
  LabelRule labels;
  template <class V>
  void describe(V& v) {
    v("path", path, "folder of NAME.inter and NAME.item");
    v("name", name, "NAME; empty: that of the only .inter file of the folder");
    v("user", user, "column of users");
    v("item", item, "column of items");
    v("time", time, "column of times; not an error where it is absent");
    v("rating", rating, "column of ratings; not an error where it is absent");
    v("label", label, "column of clicks or action types, whole numbers; not an error where it is absent");
    labels.describe(v);
  }
};

struct Reading {
  IdIndex users, items;
  bool items_known = false;
  std::vector<InteractionRow> rows;
  InteractionColumns columns;
};

class RecBoleSource : public DataSource {
 public:
  explicit RecBoleSource(Options options) : options_(std::move(options)) {}

  Dataset load(Rejects& rejects, FitContext& context) override {
    Dataset data;
    data.name = find_name();
    const std::string stem = options_.path + "/" + data.name;
    Reading reading;
    if (fs::exists(stem + ".item")) {
      data.items = read_items(stem + ".item", reading.items, rejects);
      reading.items_known = true;
    }
    if (fs::exists(stem + ".inter")) {
      read_interactions(stem + ".inter", Part::train, reading, rejects);
    } else {
      reading.columns.part = true;
      read_interactions(stem + ".train.inter", Part::train, reading, rejects);
      if (fs::exists(stem + ".valid.inter")) read_interactions(stem + ".valid.inter", Part::valid, reading, rejects);
      read_interactions(stem + ".test.inter", Part::test, reading, rejects);
    }
    if (reading.rows.empty()) throw DataError(str(stem, ".inter: holds no interactions"));
    options_.labels.apply(stem + ".inter", reading.rows, reading.columns);
    if (!reading.items_known) data.items.ids = catalogue_of(reading.items, reading.rows);
    data.user_ids = reading.users.ids();
    data.split_given = reading.columns.part;
    data.interactions = interactions_of(reading.rows, reading.users.size(), reading.columns);
    context.say(str(stem, ": ", data.users(), " users, ", data.item_count(), " items, ", data.interactions.size(),
                    " interactions"));
    return data;
  }

 private:
  std::string find_name() const {
    if (!options_.name.empty()) return options_.name;
    if (!fs::is_directory(options_.path))
      throw DataError(str(options_.path, ": is no folder, expected one with a .inter file"));
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(options_.path)) {
      if (entry.path().extension() != ".inter") continue;
      fs::path name = entry.path().stem();
      if (name.extension() == ".train" || name.extension() == ".valid" || name.extension() == ".test")
        name = name.stem();
      names.push_back(name.string());
    }
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (names.size() == 1) return names[0];
    std::string found;
    for (const auto& name : names) found += (found.empty() ? "" : ", ") + name;
    throw DataError(str(options_.path, ": has ",
                        names.empty() ? "no .inter file" : "several .inter files (" + found + ")",
                        names.empty() ? "" : "; give the `name` of one"));
  }

  // Sequences (token_seq) are words with blanks between them and stay one text.
  Items read_items(const std::string& path, IdIndex& index, Rejects& rejects) const {
    TableReader table(path, rejects);
    const int id = table.require({options_.item});
    const int title = table.find({"title", "item_name", "movie_title", "name"});
    Items items;
    std::vector<std::string_view> fields;
    while (table.next(fields)) {
      const auto own = fields[static_cast<std::size_t>(id)];
      if (own.empty() || index.find(own) >= 0) {
        table.reject(own.empty() ? "has an empty item"
                                 : str("the item ", in_quotes(own), " is on a line before it too"));
        continue;
      }
      index.add(own);
      for (std::size_t c = 0; c < fields.size(); ++c) {
        if (static_cast<int>(c) == title) items.titles.emplace_back(fields[c]);
        else if (static_cast<int>(c) != id) items.fields[table.names()[c]].emplace_back(fields[c]);
      }
    }
    rejects.finish();
    items.ids = index.ids();
    return items;
  }

  void read_interactions(const std::string& path, Part part, Reading& reading, Rejects& rejects) const {
    TableReader table(path, rejects);
    const auto user = static_cast<std::size_t>(table.require({options_.user})),
               item = static_cast<std::size_t>(table.require({options_.item}));
    const int time = table.find({options_.time}), rating = table.find({options_.rating}),
              label = table.find({options_.label});
    const int given = table.find({"x_label"});
    InteractionColumns& columns = reading.columns;
    if (part == Part::train) columns = {time >= 0, rating >= 0, label >= 0, columns.part || given >= 0};
    std::vector<std::string_view> fields;
    while (table.next(fields)) {
      InteractionRow row;
      row.part = part;
      double value = 0.0;
      const auto number = [&](int column, double low, double high) {
        return read_number(table, fields, column, low, high, value);
      };
      if (fields[user].empty() || fields[item].empty()) {
        table.reject(str("has an empty ", fields[user].empty() ? "user" : "item"));
        continue;
      }
      if (reading.items_known && reading.items.find(fields[item]) < 0) {
        table.reject(str("the item ", in_quotes(fields[item]), " is not in the .item file"));
        continue;
      }
      if (!number(time, -9e15, 9e15)) continue;
      row.time = std::llround(value);
      if (!number(rating, -1e30, 1e30)) continue;
      row.rating = static_cast<float>(value);
      if (!number(label, -128, 127)) continue;
      row.label = static_cast<std::int8_t>(std::lround(value));
      if (!number(given, 0, 3)) continue;
      if (given >= 0) row.part = static_cast<Part>(std::lround(value));
      row.user = reading.users.add(fields[user]);
      row.item = reading.items.add(fields[item]);
      reading.rows.push_back(row);
    }
    rejects.finish();
  }

  // False, and the record is rejected, where the column is no number of the range; a column that is not there is 0.
  static bool read_number(TableReader& table, const std::vector<std::string_view>& fields, int column, double low,
                          double high, double& value) {
    value = 0.0;
    if (column < 0) return true;
    const auto text = fields[static_cast<std::size_t>(column)];
    const auto found = parse_number(text);
    if (found && *found >= low && *found <= high) {
      value = *found;
      return true;
    }
    table.reject(str(table.names()[static_cast<std::size_t>(column)], " is ", in_quotes(text), ", expected ",
                     found ? str("a number ", low, " .. ", high) : "a finite number"));
    return false;
  }

  Options options_;
};

std::unique_ptr<DataSource> make(const Options& options, const Section& section) {
  if (options.path.empty())
    section.fail("path", "path is missing; expected a folder of atomic files (NAME.inter, NAME.item)");
  return std::make_unique<RecBoleSource>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "RecBole's atomic files", [](tessera::Registry& registry) {
  registry.add<tessera::DataSource, tessera::Options>(
      "recbole", "RecBole's atomic files (.inter, .item) with typed headers", tessera::make);
});
