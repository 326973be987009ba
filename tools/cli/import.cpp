#include <algorithm>
#include <filesystem>
#include <iostream>

#include "framework/checkpoint/atomic_file.h"
#include "framework/checkpoint/json.h"
#include "tools/cli/arguments.h"
#include "tools/cli/command.h"
#include "tools/cli/report.h"
#include "tools/cli/session.h"

namespace tessera::cli {
namespace {

namespace po = boost::program_options;

// Tabs and line breaks separate fields and records there.
std::string field(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
  return text;
}

void write_interactions(std::ostream& out, const Dataset& data) {
  const Interactions& inter = data.interactions;
  out << "user_id:token\titem_id:token";
  if (!inter.rating.empty()) out << "\trating:float";
  if (!inter.time.empty()) out << "\ttimestamp:float";
  if (!inter.label.empty()) out << "\tlabel:float";
  if (data.split_given) out << "\tx_label:float";
  out << '\n';
  for (std::int64_t user = 0; user < inter.users(); ++user)
    for (auto at = inter.begin(user); at < inter.end(user); ++at) {
      const auto i = static_cast<std::size_t>(at);
      out << field(data.user_ids[static_cast<std::size_t>(user)]) << '\t'
          << field(data.items.ids[static_cast<std::size_t>(inter.item[i])]);
      if (!inter.rating.empty()) out << '\t' << json_number(inter.rating[i]);
      if (!inter.time.empty()) out << '\t' << inter.time[i];
      if (!inter.label.empty()) out << '\t' << static_cast<int>(inter.label[i]);
      if (data.split_given) out << '\t' << static_cast<int>(inter.part[i]);
      out << '\n';
    }
}

void write_items(std::ostream& out, const Items& items) {
  out << "item_id:token";
  if (!items.titles.empty()) out << "\ttitle:token_seq";
  for (const auto& [name, values] : items.fields)
    if (name != "title") out << '\t' << name << ":token_seq";
  out << '\n';
  for (std::size_t i = 0; i < items.ids.size(); ++i) {
    out << field(items.ids[i]);
    if (!items.titles.empty()) out << '\t' << field(items.titles[i]);
    for (const auto& [name, values] : items.fields)
      if (name != "title") out << '\t' << field(values[i]);
    out << '\n';
  }
}

}  // namespace

// Reads SOURCE with the data plugin FORMAT and writes RecBole atomic files, which keep ratings, times, texts and a
// given split.
int run_import(const std::vector<std::string>& words) {
  Arguments arguments("import");
  arguments.options()("out", po::value<std::string>(), "folder to write to")(
      "name", po::value<std::string>(), "name of the data set (default: the folder's)")(
      "set", po::value<std::vector<std::string>>(), "key=value: an option of the data plugin; may be repeated")(
      "skip-bad", "drop bad records and count them instead of stopping");
  if (!arguments.parse(words)) return 0;
  const auto given = arguments.words(2, 2);
  const std::string folder = arguments.text("out");
  if (folder.empty()) throw UsageError("tessera import: --out DIR is missing");
  Session session(arguments.texts("plugin-dir"));
  std::vector<std::string> settings;
  if (given[1] != "-")
    settings.push_back("data.path=" + json_text(given[1]));  // "-": a format that reads no file, as synthetic
  for (const auto& setting : arguments.texts("set")) settings.push_back("data." + setting);
  const Config config = Config::parse("import", "[data]\nplugin = " + json_text(given[0]) + "\n", settings);
  const auto source = session.registry.create<DataSource>(config.section("data"));
  FitContext context = session.context(1);
  Rejects rejects(arguments.has("skip-bad"));
  Dataset data = source->load(rejects, context);
  validate(data);
  for (const auto& problem : rejects.first()) session.say("dropped: " + problem);
  if (rejects.count() > static_cast<std::int64_t>(rejects.first().size()))
    session.say(str("... ", rejects.count(), " bad records in all"));

  std::filesystem::create_directories(folder);
  std::string name = arguments.text("name");
  if (name.empty()) name = std::filesystem::absolute(folder).lexically_normal().filename().string();
  const std::string stem = folder + "/" + name;
  write_atomically(stem + ".inter", [&](std::ostream& out) { write_interactions(out, data); });
  write_atomically(stem + ".item", [&](std::ostream& out) { write_items(out, data.items); });
  std::cout << data.users() << " users, " << data.item_count() << " items, " << data.interactions.size()
            << " interactions, " << rejects.count() << " records dropped: " << stem
            << ".inter, .item\nRead them with [data] plugin = \"recbole\", path = " << json_text(folder) << "\n";
  return 0;
}

}  // namespace tessera::cli
