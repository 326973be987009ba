// MovieLens ratings: u.data (tabs), ratings.dat (::) and ratings.csv, with items as JSON lines.
#include <cmath>
#include <filesystem>

#include "framework/data/interaction_rows.h"
#include "framework/data/text.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string path, items;
  LabelRule labels;
  template <class V>
  void describe(V& v) {
    v("path", path, "folder with u.data, ratings.dat or ratings.csv, or one of those files");
    v("items", items,
      "JSON lines, one object an item: id, title, any other fields; empty: items.jsonl of the folder, where there is "
      "one");
    labels.describe(v);
  }
};

// The fields of a line between separators of one or more characters.
std::vector<std::string_view> fields_of(std::string_view line, std::string_view separator) {
  std::vector<std::string_view> fields;
  for (std::size_t begin = 0;;) {
    const std::size_t end = line.find(separator, begin);
    fields.push_back(line.substr(begin, end - begin));
    if (end == std::string_view::npos) return fields;
    begin = end + separator.size();
  }
}

struct Ratings {
  std::string path, separator;
};

class MovieLensSource : public DataSource {
 public:
  explicit MovieLensSource(Options options) : options_(std::move(options)) {}

  Dataset load(Rejects& rejects, FitContext& context) override {
    const Ratings file = find_ratings();
    const fs::path folder = fs::absolute(file.path).parent_path();
    Dataset data;
    data.name = folder.filename().string();
    IdIndex users, items;
    std::string listed = options_.items;
    if (listed.empty() && fs::exists(folder / "items.jsonl")) listed = (folder / "items.jsonl").string();
    if (!listed.empty()) data.items = read_item_lines(listed, items, rejects);
    std::vector<InteractionRow> rows = read_ratings(file, listed, users, items, rejects);
    if (rows.empty()) throw DataError(str(file.path, ": holds no ratings"));
    InteractionColumns columns{.time = true, .rating = true, .label = false, .part = false};
    options_.labels.apply(file.path, rows, columns);
    if (listed.empty()) data.items.ids = catalogue_of(items, rows);
    data.user_ids = users.ids();
    data.interactions = interactions_of(rows, users.size(), columns);
    context.say(str(file.path, ": ", data.users(), " users, ", data.item_count(), " items, ", data.interactions.size(),
                    " ratings"));
    return data;
  }

 private:
  Ratings find_ratings() const {
    static const std::pair<const char*, const char*> kKnown[] = {
        {"u.data", "\t"}, {"ratings.dat", "::"}, {"ratings.csv", ","}};
    if (fs::is_directory(options_.path)) {
      for (const auto& [name, separator] : kKnown)
        if (fs::exists(options_.path + "/" + name)) return {options_.path + "/" + name, separator};
      throw DataError(str(options_.path, ": holds none of u.data, ratings.dat, ratings.csv; give the file as path"));
    }
    const std::string ending = fs::path(options_.path).extension().string();
    return {options_.path, ending == ".csv" ? "," : ending == ".dat" ? "::" : "\t"};
  }

  std::vector<InteractionRow> read_ratings(const Ratings& file, const std::string& listed, IdIndex& users,
                                           IdIndex& items, Rejects& rejects) const {
    std::vector<InteractionRow> rows;
    LineReader lines(file.path);
    std::string_view line;
    while (lines.next(line)) {
      if (split_words(line).empty() || (lines.number() == 1 && line.starts_with("userId,"))) continue;
      const auto reject = [&](const std::string& problem) { rejects.add(file.path, lines.number(), problem); };
      const auto fields = fields_of(line, file.separator);
      if (fields.size() != 4) {
        reject(str("has ", fields.size(), " fields, expected user, item, rating and time between ",
                   file.separator == "\t" ? "tabs" : in_quotes(file.separator)));
        continue;
      }
      const auto rating = parse_number(fields[2]), time = parse_number(fields[3]);
      if (fields[0].empty() || fields[1].empty()) reject(str("has an empty ", fields[0].empty() ? "user" : "item"));
      else if (!rating || std::abs(*rating) > 1e30)
        reject(str("the rating is ", in_quotes(fields[2]), ", expected a finite number"));
      else if (!time || std::abs(*time) > 9e15) reject(str("the time is ", in_quotes(fields[3]), ", expected seconds"));
      else if (!listed.empty() && items.find(fields[1]) < 0)
        reject(str("the item ", in_quotes(fields[1]), " is not in ", listed));
      else {
        InteractionRow row;
        row.user = users.add(fields[0]);
        row.item = items.add(fields[1]);
        row.rating = static_cast<float>(*rating);
        row.time = std::llround(*time);
        rows.push_back(row);
      }
    }
    rejects.finish();
    return rows;
  }

  Options options_;
};

std::unique_ptr<DataSource> make(const Options& options, const Section& section) {
  if (options.path.empty())
    section.fail("path", "path is missing; expected a folder with u.data, ratings.dat or ratings.csv, or the file");
  return std::make_unique<MovieLensSource>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "MovieLens ratings", [](tessera::Registry& registry) {
  registry.add<tessera::DataSource, tessera::Options>(
      "movielens", "MovieLens ratings (u.data, ratings.dat, ratings.csv) with items as JSON lines", tessera::make);
});
