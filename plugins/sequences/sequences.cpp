// Plain sequences: one user a line, `user item item ...`, oldest first; items described by JSON lines where there are
// any.
#include <algorithm>
#include <filesystem>
#include <unordered_set>

#include "framework/data/interaction_rows.h"
#include "framework/data/text.h"
#include "framework/plugin/plugin.h"
#include "framework/roles/data_source.h"

namespace tessera {
namespace {

struct Options {
  std::string path, items, valid, test;
  template <class V>
  void describe(V& v) {
    v("path", path, "file of sequences: a user a line, 'user item item ...', oldest item first");
    v("items", items, "JSON lines, one object an item: id, title, any other fields; line r is row r of feature files");
    v("valid", valid, "sequences that validate, where the data came split; empty: none");
    v("test", test, "sequences that test, where the data came split; empty: none");
  }
};

struct Sequences {
  IdIndex users, items;
  bool items_known = false;  // listed in the items file: no other may appear
  std::vector<InteractionRow> rows;
};

class SequencesSource : public DataSource {
 public:
  explicit SequencesSource(Options options) : options_(std::move(options)) {}

  Dataset load(Rejects& rejects, FitContext& context) override {
    Dataset data;
    data.name = std::filesystem::path(options_.path).stem().string();
    if (data.name == "sequences" || data.name == "train") {  // the folder says more than such a file name
      const auto folder = std::filesystem::path(options_.path).parent_path().filename().string();
      if (!folder.empty()) data.name = folder;
    }
    Sequences read;
    if (!options_.items.empty()) {
      data.items = read_item_lines(options_.items, read.items, rejects);
      read.items_known = true;
    }
    read_sequences(options_.path, Part::train, read, rejects);
    data.split_given = !options_.valid.empty() || !options_.test.empty();
    if (!options_.valid.empty()) read_sequences(options_.valid, Part::valid, read, rejects);
    if (!options_.test.empty()) read_sequences(options_.test, Part::test, read, rejects);
    if (read.rows.empty()) throw DataError(str(options_.path, ": holds no interactions"));
    if (!read.items_known) data.items.ids = catalogue_of(read.items, read.rows);
    data.user_ids = read.users.ids();
    data.interactions = interactions_of(read.rows, read.users.size(), {.part = data.split_given});
    context.say(str(options_.path, ": ", data.users(), " users, ", data.item_count(), " items, ",
                    data.interactions.size(), " interactions"));
    return data;
  }

 private:
  // A training file names each user once; the files of a given split may name users without items, and train no new
  // ones.
  void read_sequences(const std::string& path, Part part, Sequences& read, Rejects& rejects) const {
    LineReader lines(path);
    std::string_view line;
    std::unordered_set<std::string> seen;
    while (lines.next(line)) {
      const auto words = split_words(line);
      if (words.empty()) continue;
      const auto reject = [&](const std::string& problem) { rejects.add(path, lines.number(), problem); };
      if (line.find('\0') != std::string_view::npos) {
        reject("holds a zero byte; expected text");
        continue;
      }
      if (!seen.emplace(words[0]).second) {
        reject(str("the user ", in_quotes(words[0]), " is on a line before it too; expected one line for each user"));
        continue;
      }
      if (words.size() == 1) {
        if (part == Part::train) reject(str("the user ", in_quotes(words[0]), " has no items"));
        continue;
      }
      if (const auto unknown = unknown_item(words, read); !unknown.empty()) {
        reject(str("the item ", in_quotes(unknown), " is not in ", options_.items));
        continue;
      }
      InteractionRow row;
      row.part = part;
      row.user = read.users.add(words[0]);
      for (std::size_t i = 1; i < words.size(); ++i) {
        row.item = read.items.add(words[i]);
        read.rows.push_back(row);
      }
    }
    rejects.finish();
  }

  static std::string_view unknown_item(const std::vector<std::string_view>& words, const Sequences& read) {
    if (!read.items_known) return {};
    const auto found =
        std::find_if(words.begin() + 1, words.end(), [&](auto word) { return read.items.find(word) < 0; });
    return found == words.end() ? std::string_view() : *found;
  }

  Options options_;
};

std::unique_ptr<DataSource> make(const Options& options, const Section& section) {
  if (options.path.empty())
    section.fail("path", "path is missing; expected a file of sequences, 'user item item ...' a line");
  return std::make_unique<SequencesSource>(options);
}

}  // namespace
}  // namespace tessera

TESSERA_PLUGIN("0.1", "plain sequences: a user a line", [](tessera::Registry& registry) {
  registry.add<tessera::DataSource, tessera::Options>(
      "sequences", "plain sequences, 'user item item ...' a line, with items as JSON lines", tessera::make);
});
