#include "tools/cli/arguments.h"

#include <iostream>

#include "tools/cli/command.h"

namespace tessera::cli {

namespace po = boost::program_options;

namespace {

const Command& find(const std::string& name) {
  for (const auto& command : commands())
    if (name == command.name) return command;
  throw UsageError("no command " + name);
}

}  // namespace

Arguments::Arguments(const std::string& command) : command_(command), visible_("options", 100) {
  visible_.add_options()("help,h", "this text")("plugin-dir", po::value<std::vector<std::string>>(),
                                                "folder to look for plugins in, first; may be repeated");
}

bool Arguments::parse(const std::vector<std::string>& arguments) {
  const Command& command = find(command_);
  po::options_description all;
  all.add(visible_).add_options()("word", po::value<std::vector<std::string>>());
  po::positional_options_description positional;
  positional.add("word", -1);
  try {
    po::store(po::command_line_parser(arguments).options(all).positional(positional).run(), values_);
    po::notify(values_);
  } catch (const po::error& error) {
    throw UsageError(str("tessera ", command_, ": ", error.what(), "\nusage: tessera ", command.usage));
  }
  if (!has("help")) return true;
  std::cout << "usage: tessera " << command.usage << "\n" << command.summary << "\n\n" << visible_;
  return false;
}

std::vector<std::string> Arguments::words(std::size_t least, std::size_t most) const {
  auto words = texts("word");
  if (words.size() < least || words.size() > most)
    throw UsageError(str("tessera ", command_, ": ", words.size(), " arguments, expected ",
                         least == most ? str(least) : str(least, " or more"), "\nusage: tessera ",
                         find(command_).usage));
  return words;
}

void add_pipeline_options(Arguments& arguments) {
  arguments.options()("set", po::value<std::vector<std::string>>(),
                      "section.key=value, over the files; may be repeated")(
      "skip-bad", "drop bad records and count them instead of stopping");
}

}  // namespace tessera::cli
