// MMRec's folders: interactions with a given split, and feature files whose rows are item numbers.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "framework/data/interaction_rows.h"
#include "framework/data/npy.h"
#include "framework/data/table.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string path;
  template <class V>
  void describe(V& v) {
    v("path", path,
      "folder of one .inter or inter.tsv file with x_label, or of train.tsv, valid.tsv and test.tsv; and of .npy "
      "files");
  }
};

struct Reading {
  IdIndex users;
  std::vector<InteractionRow> rows;
  InteractionColumns columns;
  std::int64_t items = 0;   // largest number + 1
  std::int64_t limit = -1;  // rows of the feature files, -1: there are none
  std::string limited_by;
};

class MmrecSource : public DataSource {
 public:
  explicit MmrecSource(Options options) : options_(std::move(options)) {}

  Dataset load(Rejects& rejects, FitContext& context) override {
    const fs::path folder = options_.path;
    if (!fs::is_directory(folder))
      throw DataError(str(options_.path, ": is no folder, expected one with a .inter file"));
    Dataset data;
    data.name = fs::path(fs::absolute(folder).lexically_normal() / "x").parent_path().filename().string();
    data.split_given = true;
    find_features(folder, data);
    Reading reading;
    reading.columns.part = true;
    for (const auto& [modality, path] : data.files) limit_items(path, reading);
    if (fs::exists(folder / "items.jsonl"))
      data.items = read_items((folder / "items.jsonl").string(), reading, rejects);
    read_all(folder, reading, rejects);
    if (reading.rows.empty()) throw DataError(str(options_.path, ": holds no interactions"));
    if (data.items.ids.empty())
      for (std::int64_t i = 0; i < std::max(reading.items, reading.limit); ++i)
        data.items.ids.push_back(std::to_string(i));
    data.user_ids = reading.users.ids();
    data.interactions = interactions_of(reading.rows, reading.users.size(), reading.columns);
    context.say(str(options_.path, ": ", data.users(), " users, ", data.item_count(), " items, ",
                    data.interactions.size(), " interactions, ", data.files.size(), " feature files"));
    return data;
  }

 private:
  // image_feat.npy is `image`, text_feat.npy is `text`; any other file is the modality of its own name.
  static void find_features(const fs::path& folder, Dataset& data) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".npy") continue;
      std::string modality = entry.path().stem().string();
      if (modality.ends_with("_feat")) modality.resize(modality.size() - 5);
      data.files[modality] = entry.path().string();
    }
  }

  static void limit_items(const std::string& path, Reading& reading) {
    const std::int64_t rows = npy_shape(path).dim(0);
    if (reading.limit >= 0 && reading.limit != rows)
      throw DataError(str(path, ": has ", rows, " rows, but ", reading.limited_by, " has ", reading.limit,
                          "; expected one for each item"));
    reading.limit = rows;
    reading.limited_by = path;
  }

  // Line r describes item r.
  static Items read_items(const std::string& path, Reading& reading, Rejects& rejects) {
    IdIndex index;
    Items items = read_item_lines(path, index, rejects);
    for (std::int64_t i = 0; i < items.size(); ++i)
      if (items.ids[static_cast<std::size_t>(i)] != std::to_string(i))
        throw DataError(
            str(path, ": item ", i, " has the id ", in_quotes(items.ids[static_cast<std::size_t>(i)]),
                "; expected the ids 0, 1, 2, ... in order, because rows of feature files are item numbers"));
    if (reading.limit >= 0 && items.size() != reading.limit)
      throw DataError(
          str(path, ": has ", items.size(), " items, but ", reading.limited_by, " has ", reading.limit, " rows"));
    reading.limit = items.size();
    reading.limited_by = path;
    return items;
  }

  void read_all(const fs::path& folder, Reading& reading, Rejects& rejects) const {
    if (fs::exists(folder / "train.tsv")) {
      read(folder / "train.tsv", Part::train, reading, rejects);
      if (fs::exists(folder / "valid.tsv")) read(folder / "valid.tsv", Part::valid, reading, rejects);
      read(folder / "test.tsv", Part::test, reading, rejects);
      return;
    }
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".inter" || entry.path().filename() == "inter.tsv") found.push_back(entry.path());
    if (found.size() != 1)
      throw DataError(str(options_.path, ": has ", found.size(),
                          " files like *.inter or inter.tsv and no train.tsv, expected one"));
    read(found[0], Part::none, reading, rejects);
  }

  // part none: the column x_label tells it. A file without a header holds users and items alone.
  static void read(const fs::path& path, Part part, Reading& reading, Rejects& rejects) {
    TableReader table(path.string(), rejects,
                      has_header(path) ? std::vector<std::string>{} : std::vector<std::string>{"userID", "itemID"});
    const auto user = static_cast<std::size_t>(table.require({"userID", "user_id", "user"}));
    const auto item = static_cast<std::size_t>(table.require({"itemID", "item_id", "item"}));
    const int given = part == Part::none ? table.require({"x_label"}) : -1;
    const int rating = table.find({"rating"}), time = table.find({"timestamp", "time"});
    if (part == Part::none || part == Part::train) reading.columns = {time >= 0, rating >= 0, false, true};
    std::vector<std::string_view> fields;
    while (table.next(fields)) {
      InteractionRow row;
      row.part = part;
      if (!read_item(table, fields[item], reading, row) || !read_numbers(table, fields, rating, time, row)) continue;
      if (given >= 0) {
        const auto label = parse_integer(fields[static_cast<std::size_t>(given)]);
        if (!label || *label < 0 || *label > 2) {
          table.reject(str("x_label is ", in_quotes(fields[static_cast<std::size_t>(given)]),
                           ", expected 0 (train), 1 (valid) or 2 (test)"));
          continue;
        }
        row.part = static_cast<Part>(*label);
      }
      row.user = reading.users.add(fields[user]);
      reading.rows.push_back(row);
    }
    rejects.finish();
  }

  static bool read_item(TableReader& table, std::string_view text, Reading& reading, InteractionRow& row) {
    const auto number = parse_integer(text);
    if (!number || *number < 0 || *number > 1'000'000'000) {
      table.reject(
          str("the item is ", in_quotes(text), ", expected a whole number from 0: a row of the feature files"));
      return false;
    }
    if (reading.limit >= 0 && *number >= reading.limit) {
      table.reject(str("the item ", *number, " has no row in ", reading.limited_by, " (", reading.limit, " rows)"));
      return false;
    }
    row.item = static_cast<std::int32_t>(*number);
    reading.items = std::max(reading.items, *number + 1);
    return true;
  }

  static bool read_numbers(TableReader& table, const std::vector<std::string_view>& fields, int rating, int time,
                           InteractionRow& row) {
    for (const int column : {rating, time}) {
      if (column < 0) continue;
      const auto text = fields[static_cast<std::size_t>(column)];
      const auto value = parse_number(text);
      if (!value || std::abs(*value) > 9e15) {
        table.reject(str(table.names()[static_cast<std::size_t>(column)], " is ", in_quotes(text),
                         ", expected a finite number"));
        return false;
      }
      if (column == rating) row.rating = static_cast<float>(*value);
      else row.time = std::llround(*value);
    }
    return true;
  }

  static bool has_header(const fs::path& path) {
    LineReader lines(path.string());
    std::string_view line;
    return lines.next(line) && !parse_integer(split_at(line, '\t')[0]);
  }

  Options options_;
};

std::unique_ptr<DataSource> make(const Options& options, const Section& section) {
  if (options.path.empty()) section.fail("path", "path is missing; expected an MMRec folder");
  return std::make_unique<MmrecSource>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "MMRec's folders", [](tessera::Registry& registry) {
  registry.add<tessera::DataSource, tessera::Options>(
      "mmrec", "MMRec's folders: a given split and feature files by item number", tessera::make);
});
